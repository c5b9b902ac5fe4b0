// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test the end of an irqfd's life: deassign, the close of its eventfd, the
 * release of its VM, and all of them against assign, signals and changes of
 * the interrupt routing.
 *
 * An irqfd ends in one of three ways that know nothing of each other, and each
 * of them can meet an assign, a wake-up or a work item that is under way.  The
 * single-threaded tests pin down what userspace can see.  The multi-threaded
 * tests provoke the meetings: what fails there is the kernel's own checking
 * (KASAN, lockdep, list debugging), so these tests are worth the most on a
 * debug kernel.  Such a report taints the kernel, and a test that ends with a
 * taint that was not there at its start fails.
 *
 * Two ways of delivery differ in what can be in flight.  An interrupt that is
 * routed to the I/O APIC is injected by a work item, i.e. after the write to
 * the eventfd has returned.  An MSI is injected from within the write.
 *
 * How interrupts are counted: most tests read the IRR of the local APIC of a
 * vCPU that never runs.  The state then changes by injection only, and can be
 * compared between two points in time.  The tests with a guest count in the
 * guest's interrupt handler, see guest_settle() for what makes those counts
 * comparable.
 *
 * IRQFD_TEST_SECONDS in the environment sets the seconds that each of the
 * multi-threaded tests runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "apic.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/*
 * GSIs below 16 are routed to the PIC as well, and 16 to 23 to the pins of the
 * I/O APIC, both by default.  Higher ones have no default route.
 */
#define GSI_MARKER		16
#define GSI_IOAPIC		20
#define GSI_MSI			24
#define GSI_NONE		100
#define NR_GSIS			32

/* The doorbell is the lowest vector, see guest_settle(). */
#define VECTOR_DOORBELL		0x30
#define VECTOR(gsi)		(0x40 + (gsi))

/* apic.h has no name for it. */
#define LAPIC_ISR		0x100

/* Generous: a debug kernel under emulation takes seconds for some rounds. */
#define TIMEOUT			300
#define WAIT_SECONDS		120

/*
 * The bits of /proc/sys/kernel/tainted for a bad page (KASAN sets it, too), an
 * oops, a warning and a soft lockup.
 */
#define TAINT_MASK		(BIT(5) | BIT(7) | BIT(9) | BIT(14))

#define __wait_until(cond, report)					\
do {									\
	time_t __end = time(NULL) + WAIT_SECONDS;			\
									\
	while (!(cond)) {						\
		if (time(NULL) >= __end) {				\
			report;						\
			TEST_FAIL("Gave up waiting for: %s", #cond);	\
		}							\
		usleep(100);						\
	}								\
} while (0)

#define wait_until(cond)	__wait_until(cond, (void)0)

static unsigned int stress_seconds(unsigned int dfl)
{
	const char *env = getenv("IRQFD_TEST_SECONDS");

	return env ? atoi_positive("IRQFD_TEST_SECONDS", env) : dfl;
}

/* Kernel taint, to fail the test that made the kernel complain. */

static unsigned long taint_at_start;

static unsigned long read_taint(void)
{
	unsigned long taint = 0;
	FILE *f;

	f = fopen("/proc/sys/kernel/tainted", "r");
	if (!f)
		return 0;
	if (fscanf(f, "%lu", &taint) != 1)
		taint = 0;
	fclose(f);
	return taint & TAINT_MASK;
}

static void taint_start(void)
{
	taint_at_start = read_taint();
}

static void taint_check(void)
{
	unsigned long taint = read_taint();

	TEST_ASSERT(!(taint & ~taint_at_start),
		    "The kernel complained during this test, see its log (taint %#lx, was %#lx)",
		    taint, taint_at_start);
}

/* Eventfds. */

static int new_eventfd(int flags)
{
	int fd = eventfd(0, EFD_NONBLOCK | flags);

	TEST_ASSERT(fd >= 0, "eventfd() failed, errno: %d", errno);
	return fd;
}

static void eventfd_add(int fd, u64 val)
{
	ssize_t r = write(fd, &val, sizeof(val));

	TEST_ASSERT(r == sizeof(val), "write() to eventfd: %ld, errno: %d",
		    (long)r, errno);
}

/* For racing threads: the eventfd may be gone, or full. */
static void eventfd_try_add(int fd, u64 val)
{
	ssize_t r = write(fd, &val, sizeof(val));

	TEST_ASSERT(r == sizeof(val) || errno == EBADF || errno == EAGAIN,
		    "write() to eventfd: %ld, errno: %d", (long)r, errno);
}

/* Read and reset, 0 for an empty eventfd. */
static u64 eventfd_take(int fd)
{
	u64 val;
	ssize_t r;

	r = read(fd, &val, sizeof(val));
	if (r < 0) {
		TEST_ASSERT(errno == EAGAIN, "read() of eventfd: errno %d",
			    errno);
		return 0;
	}
	TEST_ASSERT_EQ(r, (ssize_t)sizeof(val));
	return val;
}

static long eventfd_info(int fd, const char *format)
{
	char path[64], line[128];
	long val = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	TEST_ASSERT(f, "Cannot open %s, errno: %d", path, errno);
	while (val < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, format, &val) != 1)
			val = -1;
	}
	fclose(f);
	TEST_ASSERT(val >= 0, "No '%s' in %s", format, path);
	return val;
}

/* The counter, without the read that would reset it. */
static long eventfd_count(int fd)
{
	return eventfd_info(fd, "eventfd-count: %lx");
}

static void close_fd(int fd)
{
	int r = close(fd);

	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("close()", r));
}

/* KVM_IRQFD, returns 0 or the errno. */
static int irqfd_ioctl(struct kvm_vm *vm, int fd, u32 gsi, u32 flags,
		       int resamplefd)
{
	struct kvm_irqfd irqfd = {
		.fd = fd,
		.gsi = gsi,
		.flags = flags,
		.resamplefd = resamplefd,
	};

	return __vm_ioctl(vm, KVM_IRQFD, &irqfd) ? errno : 0;
}

static int irqfd_try_assign(struct kvm_vm *vm, int fd, u32 gsi)
{
	return irqfd_ioctl(vm, fd, gsi, 0, 0);
}

static int irqfd_try_deassign(struct kvm_vm *vm, int fd, u32 gsi)
{
	return irqfd_ioctl(vm, fd, gsi, KVM_IRQFD_FLAG_DEASSIGN, 0);
}

#define irqfd_expect(expr, expected)					\
do {									\
	int __err = (expr), __wanted = (expected);			\
									\
	TEST_ASSERT(__err == __wanted, "Wanted errno %d (%s), got %d (%s)", \
		    __wanted, strerror(__wanted), __err, strerror(__err)); \
} while (0)

#define irqfd_assign(vm, fd, gsi)	\
	irqfd_expect(irqfd_try_assign(vm, fd, gsi), 0)
#define irqfd_deassign(vm, fd, gsi)	\
	irqfd_expect(irqfd_try_deassign(vm, fd, gsi), 0)

static void irqfd_assign_resample(struct kvm_vm *vm, int fd, u32 gsi,
				  int resamplefd)
{
	irqfd_expect(irqfd_ioctl(vm, fd, gsi, KVM_IRQFD_FLAG_RESAMPLE,
				 resamplefd), 0);
}

/* Interrupt controllers. */

/*
 * Route the pins of the I/O APIC and as many MSIs as there are GSIs.  With
 * @flip, the GSIs from GSI_IOAPIC on take the target of their neighbour.
 */
static void set_routes(struct kvm_vm *vm, u32 flip)
{
	struct kvm_irq_routing *routing = kvm_gsi_routing_create();
	struct kvm_irq_routing_entry *e = routing->entries;
	u32 gsi, target;

	for (gsi = GSI_MARKER; gsi < NR_GSIS; gsi++, e++) {
		target = gsi < GSI_IOAPIC ? gsi : gsi ^ flip;
		e->gsi = gsi;
		if (gsi < GSI_MSI) {
			e->type = KVM_IRQ_ROUTING_IRQCHIP;
			e->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
			e->u.irqchip.pin = target;
		} else {
			e->type = KVM_IRQ_ROUTING_MSI;
			e->u.msi.address_lo = APIC_DEFAULT_GPA;
			e->u.msi.data = VECTOR(target);
		}
		routing->nr++;
	}
	kvm_gsi_routing_write(vm, routing);
}

static void ioapic_get(struct kvm_vm *vm, struct kvm_irqchip *chip)
{
	memset(chip, 0, sizeof(*chip));
	chip->chip_id = KVM_IRQCHIP_IOAPIC;
	vm_ioctl(vm, KVM_GET_IRQCHIP, chip);
}

/* Send every pin from GSI_MARKER on to vCPU 0. */
static void ioapic_setup(struct kvm_vm *vm, bool level, bool mask)
{
	struct kvm_irqchip chip;
	u32 pin;

	ioapic_get(vm, &chip);
	for (pin = GSI_MARKER; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		memset(&chip.chip.ioapic.redirtbl[pin], 0,
		       sizeof(chip.chip.ioapic.redirtbl[pin]));
		chip.chip.ioapic.redirtbl[pin].fields.vector = VECTOR(pin);
		chip.chip.ioapic.redirtbl[pin].fields.trig_mode = level;
		chip.chip.ioapic.redirtbl[pin].fields.mask = mask;
	}
	vm_ioctl(vm, KVM_SET_IRQCHIP, &chip);
}

/* Enable the local APIC of a vCPU that does not run, with an empty IRR. */
static void lapic_reset(struct kvm_vcpu *vcpu)
{
	struct kvm_lapic_state lapic;
	int i;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	*(u32 *)&lapic.regs[APIC_SPIV] = 0xff | APIC_SPIV_APIC_ENABLED;
	for (i = 0; i < 8; i++)
		*(u32 *)&lapic.regs[APIC_IRR + i * 0x10] = 0;
	vcpu_ioctl(vcpu, KVM_SET_LAPIC, &lapic);
}

static bool lapic_has(struct kvm_vcpu *vcpu, int vector)
{
	struct kvm_lapic_state lapic;
	u32 irr;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	irr = *(u32 *)&lapic.regs[APIC_IRR + vector / 32 * 0x10];
	return irr & BIT(vector % 32);
}

/*
 * A VM with all of the interrupt controllers and one vCPU that never runs: no
 * memory, hence cheap to create again and again.
 */
static struct kvm_vm *irq_vm_create(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create_barebones();

	vm_create_irqchip(vm);
	set_routes(vm, 0);
	ioapic_setup(vm, false, false);
	if (vcpu) {
		*vcpu = __vm_vcpu_add(vm, 0);
		lapic_reset(*vcpu);
	}
	return vm;
}

struct irq_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	int marker;
};

static void irq_vm_setup(struct irq_vm *iv)
{
	taint_start();

	iv->vm = irq_vm_create(&iv->vcpu);
	iv->marker = new_eventfd(0);
	irqfd_assign(iv->vm, iv->marker, GSI_MARKER);

	/*
	 * The work items that one CPU queues start in order.  Staying on one
	 * CPU makes the marker follow whatever has been queued before.
	 */
	kvm_pin_this_task_to_pcpu(sched_getcpu());
}

static void irq_vm_teardown(struct irq_vm *iv)
{
	close_fd(iv->marker);
	kvm_vm_free(iv->vm);
	taint_check();
}

/*
 * "No interrupt" cannot be waited for.  Signal one more irqfd that goes through
 * the same kind of work item instead: once that interrupt is there, any
 * earlier one is there, too.
 */
static void wait_for_marker(struct irq_vm *iv)
{
	eventfd_add(iv->marker, 1);
	wait_until(lapic_has(iv->vcpu, VECTOR(GSI_MARKER)));
}

static void assert_injects(struct irq_vm *iv, int fd, int vector)
{
	lapic_reset(iv->vcpu);
	eventfd_add(fd, 1);
	wait_until(lapic_has(iv->vcpu, vector));
	wait_for_marker(iv);
	lapic_reset(iv->vcpu);
}

static void assert_not_pending(struct irq_vm *iv, int vector)
{
	wait_for_marker(iv);
	TEST_ASSERT(!lapic_has(iv->vcpu, vector),
		    "Unexpected interrupt, vector %#x", vector);
	lapic_reset(iv->vcpu);
}

static void assert_silent(struct irq_vm *iv, int fd, int vector)
{
	lapic_reset(iv->vcpu);
	eventfd_add(fd, 1);
	assert_not_pending(iv, vector);
}

/* What userspace can rely on, whatever the way of delivery. */

FIXTURE(abi)
{
	struct irq_vm iv;
	struct kvm_vm *vm;
};

FIXTURE_SETUP(abi)
{
	irq_vm_setup(&self->iv);
	self->vm = self->iv.vm;
}

FIXTURE_TEARDOWN(abi)
{
	irq_vm_teardown(&self->iv);
}

TEST_F_TIMEOUT(abi, busy, TIMEOUT)
{
	int fd = new_eventfd(0);
	int dup_fd = dup(fd);

	irqfd_assign(self->vm, fd, GSI_MSI);
	irqfd_expect(irqfd_try_assign(self->vm, fd, GSI_MSI), EBUSY);
	irqfd_expect(irqfd_try_assign(self->vm, fd, GSI_MSI + 1), EBUSY);
	irqfd_expect(irqfd_try_assign(self->vm, fd, GSI_IOAPIC), EBUSY);
	irqfd_expect(irqfd_try_assign(self->vm, dup_fd, GSI_MSI), EBUSY);

	/* The refused ones must not have harmed the first. */
	assert_injects(&self->iv, fd, VECTOR(GSI_MSI));
	irqfd_deassign(self->vm, dup_fd, GSI_MSI);
	assert_silent(&self->iv, fd, VECTOR(GSI_MSI));

	irqfd_assign(self->vm, dup_fd, GSI_MSI + 1);
	irqfd_expect(irqfd_try_assign(self->vm, fd, GSI_MSI), EBUSY);
	irqfd_deassign(self->vm, fd, GSI_MSI + 1);
	close_fd(dup_fd);
	close_fd(fd);
}

/* A refused assign neither injects nor touches the counter. */
TEST_F_TIMEOUT(abi, busy_with_event_pending, TIMEOUT)
{
	int fd = new_eventfd(0);

	eventfd_add(fd, 7);
	irqfd_assign(self->vm, fd, GSI_IOAPIC);
	wait_until(lapic_has(self->iv.vcpu, VECTOR(GSI_IOAPIC)));
	lapic_reset(self->iv.vcpu);

	irqfd_expect(irqfd_try_assign(self->vm, fd, GSI_IOAPIC + 1), EBUSY);
	TEST_ASSERT_EQ(eventfd_count(fd), 7L);
	assert_not_pending(&self->iv, VECTOR(GSI_IOAPIC + 1));
	close_fd(fd);
}

TEST_F_TIMEOUT(abi, bad_fd, TIMEOUT)
{
	int closed = new_eventfd(0);
	int fd = new_eventfd(0);

	close_fd(closed);
	irqfd_expect(irqfd_try_assign(self->vm, -1, GSI_MSI), EBADF);
	irqfd_expect(irqfd_try_assign(self->vm, closed, GSI_MSI), EBADF);
	irqfd_expect(irqfd_try_deassign(self->vm, -1, GSI_MSI), EBADF);
	irqfd_expect(irqfd_try_deassign(self->vm, closed, GSI_MSI), EBADF);
	irqfd_expect(irqfd_ioctl(self->vm, fd, GSI_IOAPIC,
				 KVM_IRQFD_FLAG_RESAMPLE, closed), EBADF);

	/* The last one got half-way.  No trace of it may remain. */
	assert_silent(&self->iv, fd, VECTOR(GSI_IOAPIC));
	TEST_ASSERT_EQ(eventfd_take(fd), 1UL);
	irqfd_assign(self->vm, fd, GSI_IOAPIC);
	assert_injects(&self->iv, fd, VECTOR(GSI_IOAPIC));
	close_fd(fd);
}

TEST_F_TIMEOUT(abi, not_an_eventfd, TIMEOUT)
{
	int null = open("/dev/null", O_RDWR);
	int fd = new_eventfd(0);

	TEST_ASSERT(null >= 0, "Cannot open /dev/null, errno: %d", errno);
	irqfd_expect(irqfd_try_assign(self->vm, null, GSI_MSI), EINVAL);
	irqfd_expect(irqfd_try_deassign(self->vm, null, GSI_MSI), EINVAL);
	irqfd_expect(irqfd_try_assign(self->vm, self->vm->fd, GSI_MSI), EINVAL);
	irqfd_expect(irqfd_ioctl(self->vm, fd, GSI_IOAPIC,
				 KVM_IRQFD_FLAG_RESAMPLE, null), EINVAL);
	irqfd_assign(self->vm, fd, GSI_MSI);
	assert_injects(&self->iv, fd, VECTOR(GSI_MSI));
	close_fd(fd);
	close_fd(null);
}

TEST_F_TIMEOUT(abi, unknown_flags, TIMEOUT)
{
	u32 known = KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE;
	int bound = new_eventfd(0);
	int fd = new_eventfd(0);
	u32 flag;
	int i;

	irqfd_assign(self->vm, bound, GSI_MSI);
	for (i = 0; i < 32; i++) {
		flag = BIT(i);
		if (flag & known)
			continue;
		irqfd_expect(irqfd_ioctl(self->vm, fd, GSI_MSI + 1, flag, 0),
			     EINVAL);
		irqfd_expect(irqfd_ioctl(self->vm, bound, GSI_MSI,
					 flag | KVM_IRQFD_FLAG_DEASSIGN, 0),
			     EINVAL);
	}
	assert_silent(&self->iv, fd, VECTOR(GSI_MSI + 1));
	assert_injects(&self->iv, bound, VECTOR(GSI_MSI));
	close_fd(bound);
	close_fd(fd);
}

TEST_F_TIMEOUT(abi, no_irqchip, TIMEOUT)
{
	struct kvm_vm *vm = vm_create_barebones();
	int fd = new_eventfd(0);

	irqfd_expect(irqfd_try_assign(vm, fd, GSI_MSI), EINVAL);
	irqfd_expect(irqfd_try_deassign(vm, fd, GSI_MSI), 0);
	kvm_vm_free(vm);
	irqfd_assign(self->vm, fd, GSI_MSI);
	close_fd(fd);
}

TEST_F_TIMEOUT(abi, deassign_matches_nothing, TIMEOUT)
{
	int bound = new_eventfd(0);
	int fd = new_eventfd(0);
	int i;

	/* With an empty list, and with one that holds another eventfd. */
	for (i = 0; i < 2; i++) {
		eventfd_add(fd, 3);
		irqfd_deassign(self->vm, fd, GSI_MSI);
		irqfd_deassign(self->vm, fd, GSI_NONE);
		irqfd_deassign(self->vm, fd, UINT32_MAX);
		TEST_ASSERT_EQ(eventfd_take(fd), 3UL);
		if (!i)
			irqfd_assign(self->vm, bound, GSI_MSI);
	}
	assert_injects(&self->iv, bound, VECTOR(GSI_MSI));

	/* Twice in a row: the second matches nothing any more. */
	irqfd_deassign(self->vm, bound, GSI_MSI);
	eventfd_add(bound, 5);
	irqfd_deassign(self->vm, bound, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_take(bound), 5UL);
	close_fd(bound);
	close_fd(fd);
}

/*
 * One eventfd for two VMs: some kernels refuse it.  Others allow it, and leave
 * open which of the VMs gets the event.  The teardown in one VM must leave the
 * other VM alone.
 */
TEST_F_TIMEOUT(abi, two_vms, TIMEOUT)
{
	int vector = VECTOR(GSI_MSI);
	int fd = new_eventfd(0);
	struct irq_vm other;
	int err;

	other.vm = irq_vm_create(&other.vcpu);
	other.marker = new_eventfd(0);
	irqfd_assign(other.vm, other.marker, GSI_MARKER);
	irqfd_assign(self->vm, fd, GSI_MSI);

	err = irqfd_try_assign(other.vm, fd, GSI_MSI);
	TEST_ASSERT(!err || err == EBUSY, "Wanted success or EBUSY, got %d",
		    err);
	if (!err) {
		eventfd_add(fd, 1);
		wait_until(lapic_has(self->iv.vcpu, vector) ||
			   lapic_has(other.vcpu, vector));
		irqfd_deassign(other.vm, fd, GSI_MSI);
		assert_silent(&other, fd, vector);
		assert_injects(&self->iv, fd, vector);
		irqfd_assign(other.vm, fd, GSI_MSI);
	}

	close_fd(other.marker);
	kvm_vm_free(other.vm);
	assert_injects(&self->iv, fd, vector);
	irqfd_deassign(self->vm, fd, GSI_MSI);
	close_fd(fd);
}

/* The irqfd lasts as long as any descriptor of the eventfd. */
TEST_F_TIMEOUT(abi, close_of_a_duplicate, TIMEOUT)
{
	int fd = new_eventfd(0);
	int dup_fd = dup(fd);

	irqfd_assign(self->vm, fd, GSI_MSI);
	close_fd(fd);
	assert_injects(&self->iv, dup_fd, VECTOR(GSI_MSI));
	irqfd_expect(irqfd_try_assign(self->vm, dup_fd, GSI_MSI), EBUSY);
	close_fd(dup_fd);
}

/* A GSI without route swallows the event, until a route comes. */
TEST_F_TIMEOUT(abi, gsi_without_route, TIMEOUT)
{
	struct kvm_irq_routing *routing;
	int fd = new_eventfd(0);

	routing = kvm_gsi_routing_create();
	kvm_gsi_routing_write(self->vm, routing);
	irqfd_assign(self->vm, fd, GSI_MSI);
	eventfd_add(fd, 1);
	TEST_ASSERT_EQ(eventfd_take(fd), 0UL);

	/*
	 * Without a route to cache, it is the work item that looks for one.
	 * Deassign waits for it, so that it does not find the one set below.
	 */
	irqfd_deassign(self->vm, fd, GSI_MSI);
	irqfd_assign(self->vm, fd, GSI_MSI);

	set_routes(self->vm, 0);
	assert_not_pending(&self->iv, VECTOR(GSI_MSI));
	assert_injects(&self->iv, fd, VECTOR(GSI_MSI));
	close_fd(fd);
}

/*
 * The wake-up consumes the whole counter of a plain eventfd.  What was pending
 * at assign stays until then, or until the teardown, which consumes it, too.
 */
TEST_F_TIMEOUT(abi, counter, TIMEOUT)
{
	int fd = new_eventfd(0);

	/* Signalled while assigned. */
	irqfd_assign(self->vm, fd, GSI_MSI);
	eventfd_add(fd, 5);
	TEST_ASSERT_EQ(eventfd_count(fd), 0L);
	irqfd_deassign(self->vm, fd, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_take(fd), 0UL);

	/* After deassign, the eventfd is a plain one again. */
	eventfd_add(fd, 5);
	eventfd_add(fd, 1);
	TEST_ASSERT_EQ(eventfd_take(fd), 6UL);

	/* Pending at assign. */
	eventfd_add(fd, 5);
	irqfd_assign(self->vm, fd, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_count(fd), 5L);
	irqfd_deassign(self->vm, fd, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_take(fd), 0UL);

	/* Pending at assign, and one more. */
	eventfd_add(fd, 5);
	irqfd_assign(self->vm, fd, GSI_MSI);
	eventfd_add(fd, 1);
	TEST_ASSERT_EQ(eventfd_count(fd), 0L);
	irqfd_deassign(self->vm, fd, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_take(fd), 0UL);
	close_fd(fd);
}

/* A semaphore is consumed by ones. */
TEST_F_TIMEOUT(abi, counter_semaphore, TIMEOUT)
{
	int fd = new_eventfd(EFD_SEMAPHORE);

	eventfd_add(fd, 5);
	irqfd_assign(self->vm, fd, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_count(fd), 5L);
	irqfd_deassign(self->vm, fd, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_count(fd), 4L);

	/* One for the wake-up, one for the teardown. */
	irqfd_assign(self->vm, fd, GSI_MSI);
	eventfd_add(fd, 4);
	TEST_ASSERT_EQ(eventfd_count(fd), 7L);
	irqfd_deassign(self->vm, fd, GSI_MSI);
	TEST_ASSERT_EQ(eventfd_count(fd), 6L);

	TEST_ASSERT_EQ(eventfd_take(fd), 1UL);
	close_fd(fd);
}

TEST_F_TIMEOUT(abi, counter_after_release, TIMEOUT)
{
	int sem = new_eventfd(EFD_SEMAPHORE);
	struct kvm_vm *vm = irq_vm_create(NULL);
	int fd = new_eventfd(0);

	eventfd_add(fd, 5);
	eventfd_add(sem, 5);
	irqfd_assign(vm, fd, GSI_MSI);
	irqfd_assign(vm, sem, GSI_IOAPIC);
	kvm_vm_free(vm);
	TEST_ASSERT_EQ(eventfd_count(fd), 0L);
	TEST_ASSERT_EQ(eventfd_count(sem), 4L);

	/* Both are free for the next VM. */
	eventfd_add(fd, 2);
	irqfd_assign(self->vm, fd, GSI_IOAPIC);
	wait_until(lapic_has(self->iv.vcpu, VECTOR(GSI_IOAPIC)));
	irqfd_assign(self->vm, sem, GSI_MSI);
	assert_injects(&self->iv, sem, VECTOR(GSI_MSI));
	close_fd(sem);
	close_fd(fd);
}

struct blocked {
	pthread_t thread;
	atomic_int tid;
	atomic_bool done;
	int fd;
};

static void *blocked_writer(void *arg)
{
	struct blocked *b = arg;

	atomic_store(&b->tid, syscall(SYS_gettid));
	eventfd_add(b->fd, 1);
	atomic_store(&b->done, true);
	return NULL;
}

static void *blocked_poller(void *arg)
{
	struct blocked *b = arg;
	struct pollfd pfd = { .fd = b->fd, .events = POLLOUT };
	int r;

	atomic_store(&b->tid, syscall(SYS_gettid));
	r = poll(&pfd, 1, -1);
	TEST_ASSERT(r == 1 && pfd.revents == POLLOUT,
		    "poll(): %d, revents: %#x", r, pfd.revents);
	atomic_store(&b->done, true);
	return NULL;
}

static bool thread_sleeps(pid_t tid)
{
	char path[64], state = 0;
	FILE *f;

	if (!tid)
		return false;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	TEST_ASSERT(f, "Cannot open %s, errno: %d", path, errno);
	TEST_ASSERT(fscanf(f, "%*d %*s %c", &state) == 1, "Bad %s", path);
	fclose(f);
	return state == 'S';
}

static void block(struct blocked *b, int fd, void *(*fn)(void *))
{
	int r;

	b->fd = fd;
	atomic_store(&b->tid, 0);
	atomic_store(&b->done, false);
	r = pthread_create(&b->thread, NULL, fn, b);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
	wait_until(thread_sleeps(atomic_load(&b->tid)));
}

static void unblocked(struct blocked *b)
{
	wait_until(atomic_load(&b->done));
	pthread_join(b->thread, NULL);
}

/*
 * To consume the counter makes room.  Whoever waits for room must be told, by
 * the teardown like by any other reader.
 */
TEST_F_TIMEOUT(abi, room_wakes_writer_and_poller, TIMEOUT)
{
	struct blocked writer, poller;
	struct kvm_vm *vm;
	int fd, i;

	for (i = 0; i < 2; i++) {
		fd = eventfd(0, 0);
		TEST_ASSERT(fd >= 0, "eventfd() failed, errno: %d", errno);
		vm = i ? irq_vm_create(NULL) : self->vm;

		eventfd_add(fd, UINT64_MAX - 1);
		irqfd_assign(vm, fd, GSI_MSI);
		block(&poller, fd, blocked_poller);
		block(&writer, fd, blocked_writer);
		if (i)
			kvm_vm_free(vm);
		else
			irqfd_deassign(vm, fd, GSI_MSI);
		unblocked(&writer);
		unblocked(&poller);
		TEST_ASSERT_EQ(eventfd_count(fd), 1L);
		close_fd(fd);
	}
}

#define NR_REFS		40
#define REFS_MARGIN	20

/*
 * An eventfd context holds its id until the last reference is gone, and a new
 * one gets the lowest free id.  References that a teardown forgets therefore
 * raise the highest id of a number of new eventfds, even if what leaks and what
 * does not alternate.  REFS_MARGIN is for other processes of the machine.
 */
static long probe_eventfd_ids(void)
{
	int fds[2 * NR_REFS];
	long id;
	int i;

	for (i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = new_eventfd(0);
	id = eventfd_info(fds[i - 1], "eventfd-id: %ld");
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close_fd(fds[i]);
	return id;
}

FIXTURE(references)
{
	struct kvm_vm *vm;
	int fd[NR_REFS];
	int resamplefd[NR_REFS];
	long highest_id;
};

FIXTURE_SETUP(references)
{
	int i;

	taint_start();
	self->vm = irq_vm_create(NULL);
	self->highest_id = probe_eventfd_ids();
	for (i = 0; i < NR_REFS; i++) {
		self->fd[i] = new_eventfd(0);
		self->resamplefd[i] = new_eventfd(0);
		irqfd_assign_resample(self->vm, self->fd[i], GSI_IOAPIC,
				      self->resamplefd[i]);
	}
}

FIXTURE_TEARDOWN(references)
{
	long id = probe_eventfd_ids();

	TEST_ASSERT(id < self->highest_id + REFS_MARGIN,
		    "eventfds leak: highest id was %ld, is %ld",
		    self->highest_id, id);
	taint_check();
}

static void close_all(int *fd, int *resamplefd)
{
	int i;

	for (i = 0; i < NR_REFS; i++) {
		close_fd(fd[i]);
		close_fd(resamplefd[i]);
	}
}

TEST_F_TIMEOUT(references, deassign, TIMEOUT)
{
	int i;

	for (i = 0; i < NR_REFS; i++)
		irqfd_deassign(self->vm, self->fd[i], GSI_IOAPIC);
	close_all(self->fd, self->resamplefd);
	wait_until(probe_eventfd_ids() < self->highest_id + REFS_MARGIN);
	kvm_vm_free(self->vm);
}

TEST_F_TIMEOUT(references, release, TIMEOUT)
{
	kvm_vm_free(self->vm);
	close_all(self->fd, self->resamplefd);
}

/*
 * The close of an eventfd ends its irqfd, in each of its VMs.  The VMs outlive
 * it, so nothing but the close itself can have dropped the references.
 */
TEST_F_TIMEOUT(references, close, TIMEOUT)
{
	struct kvm_vm *other = irq_vm_create(NULL);
	int i, err;

	for (i = 0; i < NR_REFS; i++) {
		err = irqfd_try_assign(other, self->fd[i], GSI_MSI);
		TEST_ASSERT(!err || err == EBUSY,
			    "Wanted success or EBUSY, got %d", err);
	}
	close_all(self->fd, self->resamplefd);
	wait_until(probe_eventfd_ids() < self->highest_id + REFS_MARGIN);
	kvm_vm_free(other);
	kvm_vm_free(self->vm);
}

TEST_F_TIMEOUT(references, refused_assign, TIMEOUT)
{
	int i;

	for (i = 0; i < NR_REFS; i++)
		irqfd_expect(irqfd_ioctl(self->vm, self->fd[i], GSI_IOAPIC,
					 KVM_IRQFD_FLAG_RESAMPLE,
					 self->resamplefd[i]), EBUSY);
	close_all(self->fd, self->resamplefd);
	kvm_vm_free(self->vm);
}

/*
 * The line of a GSI with resample irqfds stays asserted until the last of them
 * is gone.  The pin is masked, so that the I/O APIC's IRR shows the line.
 */
TEST_F_TIMEOUT(abi, resample_line_falls_with_the_last, TIMEOUT)
{
	struct kvm_irqchip chip;
	int fd[2], resamplefd[2];
	int i;

	ioapic_setup(self->vm, true, true);
	for (i = 0; i < 2; i++) {
		fd[i] = new_eventfd(0);
		resamplefd[i] = new_eventfd(0);
		irqfd_assign_resample(self->vm, fd[i], GSI_IOAPIC,
				      resamplefd[i]);
	}

	eventfd_add(fd[0], 1);
	wait_until((ioapic_get(self->vm, &chip),
		    chip.chip.ioapic.irr & BIT(GSI_IOAPIC)));

	irqfd_deassign(self->vm, fd[0], GSI_IOAPIC);
	ioapic_get(self->vm, &chip);
	TEST_ASSERT(chip.chip.ioapic.irr & BIT(GSI_IOAPIC),
		    "The line fell while one resample irqfd was left");

	/* RESAMPLE is allowed at deassign, and does not matter. */
	irqfd_expect(irqfd_ioctl(self->vm, fd[1], GSI_IOAPIC,
				 KVM_IRQFD_FLAG_DEASSIGN |
				 KVM_IRQFD_FLAG_RESAMPLE, -1), 0);
	ioapic_get(self->vm, &chip);
	TEST_ASSERT(!(chip.chip.ioapic.irr & BIT(GSI_IOAPIC)),
		    "The line outlives its last resample irqfd");

	for (i = 0; i < 2; i++) {
		TEST_ASSERT_EQ(eventfd_take(resamplefd[i]), 0UL);
		close_fd(resamplefd[i]);
		close_fd(fd[i]);
	}
	ioapic_setup(self->vm, false, false);
}

/* Injection, or its absence, for each way of delivery. */

FIXTURE(delivery)
{
	struct irq_vm iv;
	struct kvm_vm *vm;
};

FIXTURE_VARIANT(delivery)
{
	u32 gsi;
};

FIXTURE_VARIANT_ADD(delivery, ioapic)
{
	.gsi = GSI_IOAPIC,
};

FIXTURE_VARIANT_ADD(delivery, msi)
{
	.gsi = GSI_MSI,
};

FIXTURE_SETUP(delivery)
{
	irq_vm_setup(&self->iv);
	self->vm = self->iv.vm;
}

FIXTURE_TEARDOWN(delivery)
{
	irq_vm_teardown(&self->iv);
}

TEST_F_TIMEOUT(delivery, signal, TIMEOUT)
{
	int fd = new_eventfd(0);

	assert_silent(&self->iv, fd, VECTOR(variant->gsi));
	TEST_ASSERT_EQ(eventfd_take(fd), 1UL);
	irqfd_assign(self->vm, fd, variant->gsi);
	assert_not_pending(&self->iv, VECTOR(variant->gsi));
	assert_injects(&self->iv, fd, VECTOR(variant->gsi));
	irqfd_deassign(self->vm, fd, variant->gsi);
	assert_silent(&self->iv, fd, VECTOR(variant->gsi));
	close_fd(fd);
}

TEST_F_TIMEOUT(delivery, deassign_of_wrong_gsi, TIMEOUT)
{
	int fd = new_eventfd(0);

	irqfd_assign(self->vm, fd, variant->gsi);
	irqfd_deassign(self->vm, fd, variant->gsi + 1);
	irqfd_deassign(self->vm, fd, GSI_NONE);
	assert_injects(&self->iv, fd, VECTOR(variant->gsi));
	close_fd(fd);
}

/* Right after deassign, the eventfd is free for another GSI. */
TEST_F_TIMEOUT(delivery, rebind, TIMEOUT)
{
	int fd = new_eventfd(0);
	u32 gsi = variant->gsi;
	int i;

	for (i = 0; i < 50; i++) {
		gsi = variant->gsi + (i & 1);
		irqfd_assign(self->vm, fd, gsi);
		lapic_reset(self->iv.vcpu);
		eventfd_add(fd, 1);
		wait_until(lapic_has(self->iv.vcpu, VECTOR(gsi)));
		TEST_ASSERT(!lapic_has(self->iv.vcpu, VECTOR(gsi ^ 1)),
			    "Interrupt of the previous GSI in round %d", i);
		irqfd_deassign(self->vm, fd, gsi);
	}
	close_fd(fd);
}

TEST_F_TIMEOUT(delivery, pending_at_assign, TIMEOUT)
{
	int flags[] = { 0, EFD_SEMAPHORE };
	int fd, i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		fd = new_eventfd(flags[i]);
		eventfd_add(fd, 2);
		irqfd_assign(self->vm, fd, variant->gsi);
		wait_until(lapic_has(self->iv.vcpu, VECTOR(variant->gsi)));
		lapic_reset(self->iv.vcpu);
		assert_injects(&self->iv, fd, VECTOR(variant->gsi));
		close_fd(fd);
	}
}

/* An assigned irqfd follows its route, a deassigned one has none. */
TEST_F_TIMEOUT(delivery, route_update, TIMEOUT)
{
	int fd = new_eventfd(0);
	u32 gsi = variant->gsi;
	int i;

	irqfd_assign(self->vm, fd, gsi);
	for (i = 0; i < 10; i++) {
		set_routes(self->vm, i & 1);
		lapic_reset(self->iv.vcpu);
		eventfd_add(fd, 1);
		wait_until(lapic_has(self->iv.vcpu, VECTOR(gsi ^ (i & 1))));
		assert_not_pending(&self->iv, VECTOR(gsi ^ !(i & 1)));
	}
	irqfd_deassign(self->vm, fd, gsi);
	set_routes(self->vm, 0);
	assert_silent(&self->iv, fd, VECTOR(gsi));
	close_fd(fd);
}

/*
 * A signal before deassign is injected when deassign returns, and nothing is
 * injected afterwards, neither the rest of what was in flight nor a new event.
 * The vCPU does not run, so IRR at return and IRR later compare exactly.
 */
TEST_F_TIMEOUT(delivery, nothing_after_deassign, TIMEOUT)
{
	int vector = VECTOR(variant->gsi);
	int fd = new_eventfd(0);
	bool pending;
	int i;

	for (i = 0; i < 200; i++) {
		/* Alternate between an event before and one after assign. */
		if (i & 1)
			eventfd_add(fd, 1);
		irqfd_assign(self->vm, fd, variant->gsi);
		if (!(i & 1))
			eventfd_add(fd, 1);
		irqfd_deassign(self->vm, fd, variant->gsi);

		pending = lapic_has(self->iv.vcpu, vector);
		lapic_reset(self->iv.vcpu);
		eventfd_add(fd, 1);
		wait_for_marker(&self->iv);
		TEST_ASSERT(!lapic_has(self->iv.vcpu, vector),
			    "Interrupt after deassign in round %d", i);
		TEST_ASSERT(pending, "Lost interrupt in round %d", i);
		TEST_ASSERT_EQ(eventfd_take(fd), 1UL);
		lapic_reset(self->iv.vcpu);
	}
	close_fd(fd);
}

/* Tests with a guest that takes the interrupts. */

static struct guest_state {
	u64 count[256];
	bool stop;
} guest_state;

static void guest_irq_handler(struct ex_regs *regs)
{
	u64 *count = &guest_state.count[regs->vector];

	WRITE_ONCE(*count, *count + 1);
	x2apic_write_reg(APIC_EOI, 0);
}

static void guest_code(void)
{
	x2apic_enable();
	GUEST_SYNC(0);
	while (!READ_ONCE(guest_state.stop))
		asm volatile("sti; hlt; cli" : : : "memory");
	GUEST_DONE();
}

struct guest {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct guest_state *state;
	pthread_t thread;
	int marker;
};

static u64 guest_count(struct guest *g, int vector)
{
	return READ_ONCE(g->state->count[vector]);
}

static void guest_ring(struct guest *g)
{
	struct kvm_msi msi = {
		.address_lo = APIC_DEFAULT_GPA,
		.data = VECTOR_DOORBELL,
	};
	int r = __vm_ioctl(g->vm, KVM_SIGNAL_MSI, &msi);

	TEST_ASSERT(r >= 0, KVM_IOCTL_ERROR(KVM_SIGNAL_MSI, r));
}

static void guest_expect(struct kvm_vcpu *vcpu, u64 cmd)
{
	struct ucall uc;
	u64 got;

	vcpu_run(vcpu);
	got = get_ucall(vcpu, &uc);
	if (got == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT_EQ(got, cmd);
}

static void *guest_thread(void *arg)
{
	guest_expect(arg, UCALL_DONE);
	return NULL;
}

/*
 * What a guest does that does not answer, for the log: KVM may have lost an
 * interrupt, or may hold one back because of the state that the vCPU is in.
 * Runs in the vCPU's thread, which has left KVM_RUN for the signal's sake.
 */
static struct kvm_vcpu *reported_vcpu;

static void vcpu_report(int sig)
{
	struct kvm_vcpu *vcpu = reported_vcpu;
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp_state;
	struct kvm_regs regs;
	u32 isr, irr;
	int i;

	vcpu_regs_get(vcpu, &regs);
	vcpu_events_get(vcpu, &events);
	vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &mp_state);
	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	ksft_print_msg("vCPU: rip %#llx, rflags %#llx, mp_state %u, shadow %u, injected %d (%#x)\n",
		       regs.rip, regs.rflags, mp_state.mp_state,
		       events.interrupt.shadow, events.interrupt.injected,
		       events.interrupt.nr);
	for (i = 0; i < 256; i += 32) {
		isr = *(u32 *)&lapic.regs[LAPIC_ISR + i / 2];
		irr = *(u32 *)&lapic.regs[APIC_IRR + i / 2];
		if (isr || irr)
			ksft_print_msg("vCPU: vectors from %#x: ISR %#x, IRR %#x\n",
				       i, isr, irr);
	}
}

static void guest_report(struct guest *g)
{
	int vector;

	for (vector = 0; vector < 256; vector++) {
		if (guest_count(g, vector))
			ksft_print_msg("The guest took vector %#x %lu times\n",
				       vector, guest_count(g, vector));
	}
	reported_vcpu = g->vcpu;
	signal(SIGUSR1, vcpu_report);
	pthread_kill(g->thread, SIGUSR1);
	sleep(1);
}

#define guest_wait_until(g, cond)	__wait_until(cond, guest_report(g))

/*
 * Let the guest take every interrupt that has been injected so far.
 *
 * What deassign promises is that nothing is injected once it has returned.  An
 * interrupt that was injected earlier may still be pending in the local APIC,
 * and the guest takes it later.  Therefore a count in the guest means nothing
 * right after deassign.  The doorbell makes it exact: a local APIC delivers the
 * highest vector first, and the handler runs with interrupts disabled to its
 * end.  When the guest takes the doorbell, which has the lowest vector, whatever
 * was pending before has been counted.
 */
static void guest_settle(struct guest *g)
{
	u64 before = guest_count(g, VECTOR_DOORBELL);

	guest_ring(g);
	guest_wait_until(g, guest_count(g, VECTOR_DOORBELL) != before);
}

/* Let the work items that are queued run, see wait_for_marker(). */
static void guest_flush(struct guest *g)
{
	u64 before = guest_count(g, VECTOR(GSI_MARKER));

	eventfd_add(g->marker, 1);
	guest_wait_until(g, guest_count(g, VECTOR(GSI_MARKER)) != before);
	guest_settle(g);
}

static void guest_start(struct guest *g, bool level)
{
	u32 gsi;
	int r;

	taint_start();

	g->vm = vm_create_with_one_vcpu(&g->vcpu, guest_code);
	g->state = addr_gva2hva(g->vm, (vm_vaddr_t)&guest_state);
	vm_install_exception_handler(g->vm, VECTOR_DOORBELL, guest_irq_handler);
	for (gsi = GSI_MARKER; gsi < NR_GSIS; gsi++)
		vm_install_exception_handler(g->vm, VECTOR(gsi),
					     guest_irq_handler);
	set_routes(g->vm, 0);

	/* Interrupts that come before the guest enables its APIC are lost. */
	guest_expect(g->vcpu, UCALL_SYNC);
	ioapic_setup(g->vm, level, false);

	r = pthread_create(&g->thread, NULL, guest_thread, g->vcpu);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);

	g->marker = new_eventfd(0);
	if (!level)
		irqfd_assign(g->vm, g->marker, GSI_MARKER);
	else
		irqfd_assign(g->vm, g->marker, GSI_MSI);
	guest_settle(g);
}

static void guest_end(struct guest *g)
{
	WRITE_ONCE(g->state->stop, true);
	/*
	 * Once is enough, as STI shields the HLT behind it, unless the CPU under
	 * KVM is emulated: VMRUN in QEMU 7.2 does not restore the interrupt
	 * shadow.  The guest may take the doorbell between the two, and halt.
	 */
	guest_wait_until(g, (guest_ring(g), !pthread_tryjoin_np(g->thread, NULL)));
	close_fd(g->marker);
	kvm_vm_free(g->vm);
	taint_check();
}

FIXTURE(guest)
{
	struct guest g;
};

FIXTURE_VARIANT(guest)
{
	u32 gsi;
};

FIXTURE_VARIANT_ADD(guest, ioapic)
{
	.gsi = GSI_IOAPIC,
};

FIXTURE_VARIANT_ADD(guest, msi)
{
	.gsi = GSI_MSI,
};

FIXTURE_SETUP(guest)
{
	guest_start(&self->g, false);
}

FIXTURE_TEARDOWN(guest)
{
	guest_end(&self->g);
}

TEST_F_TIMEOUT(guest, nothing_after_deassign, TIMEOUT)
{
	int vector = VECTOR(variant->gsi);
	struct guest *g = &self->g;
	int fd = new_eventfd(0);
	u64 count;
	int i, j;

	for (i = 0; i < 60; i++) {
		irqfd_assign(g->vm, fd, variant->gsi);
		count = guest_count(g, vector);
		eventfd_add(fd, 1);
		guest_wait_until(g, guest_count(g, vector) != count);

		eventfd_add(fd, 1);
		irqfd_deassign(g->vm, fd, variant->gsi);
		guest_settle(g);
		count = guest_count(g, vector);
		for (j = 0; j < 10; j++)
			eventfd_add(fd, 1);
		guest_flush(g);
		TEST_ASSERT_EQ(guest_count(g, vector), count);
		TEST_ASSERT_EQ(eventfd_take(fd), 10UL);
	}
	close_fd(fd);
}

struct signaller {
	pthread_t thread;
	unsigned long signals;
	bool stop;
	int fd;
};

static void *signaller_thread(void *arg)
{
	struct signaller *s = arg;

	while (!READ_ONCE(s->stop)) {
		eventfd_try_add(s->fd, 1);
		WRITE_ONCE(s->signals, s->signals + 1);
	}
	return NULL;
}

TEST_F_TIMEOUT(guest, nothing_after_deassign_under_fire, TIMEOUT)
{
	struct signaller s = { .fd = new_eventfd(0) };
	int vector = VECTOR(variant->gsi);
	struct guest *g = &self->g;
	unsigned long signals;
	u64 count;
	int i, r;

	r = pthread_create(&s.thread, NULL, signaller_thread, &s);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);

	for (i = 0; i < 50; i++) {
		count = guest_count(g, vector);
		irqfd_assign(g->vm, s.fd, variant->gsi);
		guest_wait_until(g, guest_count(g, vector) != count);

		irqfd_deassign(g->vm, s.fd, variant->gsi);
		guest_settle(g);
		count = guest_count(g, vector);
		signals = READ_ONCE(s.signals);
		wait_until(READ_ONCE(s.signals) > signals + 10);
		guest_flush(g);
		TEST_ASSERT_EQ(guest_count(g, vector), count);
	}
	WRITE_ONCE(s.stop, true);
	pthread_join(s.thread, NULL);
	close_fd(s.fd);
}

/* Resample irqfds: the guest's EOI notifies all of the GSI. */

#define NR_RESAMPLE	3

FIXTURE(resample)
{
	struct guest g;
	int fd[NR_RESAMPLE];
	int resamplefd[NR_RESAMPLE];
};

FIXTURE_SETUP(resample)
{
	int i;

	guest_start(&self->g, true);
	for (i = 0; i < NR_RESAMPLE; i++) {
		self->fd[i] = new_eventfd(0);
		self->resamplefd[i] = new_eventfd(0);
	}
}

FIXTURE_TEARDOWN(resample)
{
	int i;

	for (i = 0; i < NR_RESAMPLE; i++) {
		close_fd(self->fd[i]);
		close_fd(self->resamplefd[i]);
	}
	guest_end(&self->g);
}

/*
 * Signal @fd and expect exactly one notification for each of the resamplefds in
 * the bit map @who, and none for the others.
 */
static void assert_resampled(struct guest *g, int fd, int *resamplefd,
			     unsigned int who)
{
	u64 count = guest_count(g, VECTOR(GSI_IOAPIC));
	int i;

	eventfd_add(fd, 1);
	guest_wait_until(g, guest_count(g, VECTOR(GSI_IOAPIC)) != count);
	for (i = 0; i < NR_RESAMPLE; i++) {
		if (who & BIT(i))
			guest_wait_until(g, eventfd_count(resamplefd[i]));
	}
	guest_settle(g);
	TEST_ASSERT_EQ(guest_count(g, VECTOR(GSI_IOAPIC)), count + 1);
	for (i = 0; i < NR_RESAMPLE; i++)
		TEST_ASSERT_EQ(eventfd_take(resamplefd[i]),
			       (u64)!!(who & BIT(i)));
}

TEST_F_TIMEOUT(resample, one, TIMEOUT)
{
	struct guest *g = &self->g;
	int i;

	for (i = 0; i < 20; i++) {
		irqfd_assign_resample(g->vm, self->fd[0], GSI_IOAPIC,
				      self->resamplefd[0]);
		assert_resampled(g, self->fd[0], self->resamplefd, BIT(0));
		assert_resampled(g, self->fd[0], self->resamplefd, BIT(0));
		irqfd_deassign(g->vm, self->fd[0], GSI_IOAPIC);
	}
}

TEST_F_TIMEOUT(resample, pending_at_assign, TIMEOUT)
{
	struct guest *g = &self->g;

	eventfd_add(self->fd[0], 1);
	irqfd_assign_resample(g->vm, self->fd[0], GSI_IOAPIC,
			      self->resamplefd[0]);
	wait_until(eventfd_count(self->resamplefd[0]));
	TEST_ASSERT_EQ(guest_count(g, VECTOR(GSI_IOAPIC)), 1UL);
}

TEST_F_TIMEOUT(resample, several, TIMEOUT)
{
	struct guest *g = &self->g;
	int i, j;

	for (i = 0; i < NR_RESAMPLE; i++) {
		irqfd_assign_resample(g->vm, self->fd[i], GSI_IOAPIC,
				      self->resamplefd[i]);
		for (j = 0; j <= i; j++)
			assert_resampled(g, self->fd[j], self->resamplefd,
					 BIT(i + 1) - 1);
	}
}

/* Each end of one: deassign, close, and an assign that is refused. */
TEST_F_TIMEOUT(resample, teardown_of_one, TIMEOUT)
{
	struct guest *g = &self->g;
	u64 count;
	int fd, i, how;

	for (i = 0; i < NR_RESAMPLE; i++)
		irqfd_assign_resample(g->vm, self->fd[i], GSI_IOAPIC,
				      self->resamplefd[i]);

	for (how = 0; how < 2; how++) {
		if (!how) {
			irqfd_deassign(g->vm, self->fd[1], GSI_IOAPIC);
		} else {
			fd = new_eventfd(0);
			close_fd(self->fd[1]);
			self->fd[1] = fd;
			/*
			 * The close does not wait for the teardown, and the
			 * resamplefd is notified until then.
			 */
			for (;;) {
				count = guest_count(g, VECTOR(GSI_IOAPIC));
				eventfd_add(self->fd[0], 1);
				guest_wait_until(g, guest_count(g, VECTOR(GSI_IOAPIC)) != count);
				wait_until(eventfd_count(self->resamplefd[2]));
				guest_settle(g);
				eventfd_take(self->resamplefd[0]);
				eventfd_take(self->resamplefd[2]);
				if (!eventfd_take(self->resamplefd[1]))
					break;
			}
		}
		assert_resampled(g, self->fd[0], self->resamplefd, BIT(0) | BIT(2));
		assert_resampled(g, self->fd[2], self->resamplefd, BIT(0) | BIT(2));

		/* fd[0] is taken, so resamplefd[1] must not stay behind. */
		irqfd_expect(irqfd_ioctl(g->vm, self->fd[0], GSI_IOAPIC,
					 KVM_IRQFD_FLAG_RESAMPLE,
					 self->resamplefd[1]), EBUSY);
		assert_resampled(g, self->fd[0], self->resamplefd, BIT(0) | BIT(2));

		irqfd_assign_resample(g->vm, self->fd[1], GSI_IOAPIC,
				      self->resamplefd[1]);
		assert_resampled(g, self->fd[1], self->resamplefd,
				 BIT(NR_RESAMPLE) - 1);
	}

	/* After the last one, nothing. */
	for (i = 0; i < NR_RESAMPLE; i++)
		irqfd_deassign(g->vm, self->fd[i], GSI_IOAPIC);
	guest_settle(g);
	count = guest_count(g, VECTOR(GSI_IOAPIC));
	for (i = 0; i < NR_RESAMPLE; i++) {
		eventfd_add(self->fd[i], 1);
		TEST_ASSERT_EQ(eventfd_take(self->fd[i]), 1UL);
	}
	guest_settle(g);
	TEST_ASSERT_EQ(guest_count(g, VECTOR(GSI_IOAPIC)), count);
	for (i = 0; i < NR_RESAMPLE; i++)
		TEST_ASSERT_EQ(eventfd_take(self->resamplefd[i]), 0UL);
}

/* Races.  What may fail, and with which errno, is all that these assert. */

#define NR_FDS		8

struct stress {
	struct kvm_vm *vm;
	const u32 *gsis;
	unsigned int nr_gsis;
	unsigned int nr_fds;
	/* Percentage of assigns that find an event pending. */
	unsigned int pending;
	bool stop;
	atomic_int fds[NR_FDS];
	int resamplefd;
};

struct worker {
	const char *name;
	void (*fn)(struct worker *w);
	struct stress *stress;
	pthread_t thread;
	unsigned int seed;
	unsigned long rounds;
};

static unsigned int pick(struct worker *w, unsigned int nr)
{
	return rand_r(&w->seed) % nr;
}

static int pick_fd(struct worker *w)
{
	return atomic_load(&w->stress->fds[pick(w, w->stress->nr_fds)]);
}

static u32 pick_gsi(struct worker *w)
{
	return w->stress->gsis[pick(w, w->stress->nr_gsis)];
}

static void work_assign(struct worker *w)
{
	struct stress *s = w->stress;
	int fd = pick_fd(w);
	int err;

	if (pick(w, 100) < s->pending)
		eventfd_try_add(fd, 1);
	err = irqfd_try_assign(s->vm, fd, pick_gsi(w));
	TEST_ASSERT(!err || err == EBUSY || err == EBADF,
		    "Assign failed with errno %d", err);
}

static void work_assign_resample(struct worker *w)
{
	struct stress *s = w->stress;
	int err;

	err = irqfd_ioctl(s->vm, pick_fd(w), pick_gsi(w),
			  KVM_IRQFD_FLAG_RESAMPLE, s->resamplefd);
	TEST_ASSERT(!err || err == EBUSY || err == EBADF,
		    "Assign failed with errno %d", err);
}

static void work_deassign(struct worker *w)
{
	struct stress *s = w->stress;
	int err;

	err = irqfd_try_deassign(s->vm, pick_fd(w), pick_gsi(w));
	TEST_ASSERT(!err || err == EBADF, "Deassign failed with errno %d", err);
}

static void work_signal(struct worker *w)
{
	eventfd_try_add(pick_fd(w), 1);
}

/* Leave the CPU now and then to what the signals are to meet. */
static void work_signal_gently(struct worker *w)
{
	eventfd_try_add(pick_fd(w), 1);
	if (!pick(w, 8))
		sched_yield();
}

static void work_route(struct worker *w)
{
	set_routes(w->stress->vm, pick(w, 2));
}

/*
 * A descriptor that is closed here may be under way as a number in another
 * thread, which then finds nothing or another eventfd of the table.
 */
static void work_close(struct worker *w)
{
	struct stress *s = w->stress;
	int old;

	old = atomic_exchange(&s->fds[pick(w, s->nr_fds)], new_eventfd(0));
	close_fd(old);
}

static void *worker_thread(void *arg)
{
	struct worker *w = arg;

	while (!READ_ONCE(w->stress->stop)) {
		w->fn(w);
		w->rounds++;
	}
	return NULL;
}

static void run_workers(struct stress *s, struct worker *workers, int nr,
			unsigned int seconds)
{
	int i, r;

	for (i = 0; i < s->nr_fds; i++)
		atomic_store(&s->fds[i], new_eventfd(0));
	s->resamplefd = new_eventfd(0);

	for (i = 0; i < nr; i++) {
		workers[i].stress = s;
		workers[i].seed = i + 1;
		r = pthread_create(&workers[i].thread, NULL, worker_thread,
				   &workers[i]);
		TEST_ASSERT(!r, "pthread_create() failed: %d", r);
	}

	sleep(seconds);
	WRITE_ONCE(s->stop, true);

	for (i = 0; i < nr; i++) {
		pthread_join(workers[i].thread, NULL);
		ksft_print_msg("%s: %lu rounds\n", workers[i].name,
			       workers[i].rounds);
		TEST_ASSERT(workers[i].rounds, "%s made no progress",
			    workers[i].name);
	}
}

#define WORKER(_fn)	{ .name = #_fn, .fn = (_fn) }

FIXTURE(race)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
};

FIXTURE_SETUP(race)
{
	taint_start();
	self->vm = irq_vm_create(&self->vcpu);
}

FIXTURE_TEARDOWN(race)
{
	kvm_vm_free(self->vm);
	taint_check();
}

static const u32 ioapic_gsi[] = { GSI_IOAPIC };
static const u32 msi_gsi[] = { GSI_MSI };
static const u32 mixed_gsis[] = {
	GSI_IOAPIC, GSI_IOAPIC + 1, GSI_MSI, GSI_MSI + 1,
};

/*
 * One eventfd and one GSI, so that each deassign can meet the assign that is
 * under way; an event is always pending, so that the assign has work to queue.
 */
TEST_F_TIMEOUT(race, assign_vs_deassign_one_gsi, TIMEOUT)
{
	struct stress s = {
		.vm = self->vm, .nr_fds = 1, .pending = 100,
		.gsis = ioapic_gsi, .nr_gsis = 1,
	};
	struct worker workers[] = {
		WORKER(work_assign), WORKER(work_assign),
		WORKER(work_deassign), WORKER(work_deassign),
	};

	run_workers(&s, workers, ARRAY_SIZE(workers), stress_seconds(6));
}

TEST_F_TIMEOUT(race, assign_vs_deassign_several_gsis, TIMEOUT)
{
	struct stress s = {
		.vm = self->vm, .nr_fds = 2, .pending = 50,
		.gsis = mixed_gsis, .nr_gsis = ARRAY_SIZE(mixed_gsis),
	};
	struct worker workers[] = {
		WORKER(work_assign), WORKER(work_assign),
		WORKER(work_deassign), WORKER(work_deassign),
	};

	run_workers(&s, workers, ARRAY_SIZE(workers), stress_seconds(4));
}

TEST_F_TIMEOUT(race, signal_vs_deassign_ioapic, TIMEOUT)
{
	struct stress s = {
		.vm = self->vm, .nr_fds = 1, .pending = 50,
		.gsis = ioapic_gsi, .nr_gsis = 1,
	};
	struct worker workers[] = {
		WORKER(work_assign), WORKER(work_deassign),
		WORKER(work_signal_gently), WORKER(work_signal),
	};

	run_workers(&s, workers, ARRAY_SIZE(workers), stress_seconds(5));
}

TEST_F_TIMEOUT(race, signal_vs_deassign_msi, TIMEOUT)
{
	struct stress s = {
		.vm = self->vm, .nr_fds = 1, .pending = 50,
		.gsis = msi_gsi, .nr_gsis = 1,
	};
	struct worker workers[] = {
		WORKER(work_assign), WORKER(work_deassign),
		WORKER(work_signal_gently), WORKER(work_signal),
	};

	run_workers(&s, workers, ARRAY_SIZE(workers), stress_seconds(5));
}

TEST_F_TIMEOUT(race, all_with_routing, TIMEOUT)
{
	struct stress s = {
		.vm = self->vm, .nr_fds = 4, .pending = 50,
		.gsis = mixed_gsis, .nr_gsis = ARRAY_SIZE(mixed_gsis),
	};
	struct worker workers[] = {
		WORKER(work_assign), WORKER(work_assign),
		WORKER(work_deassign), WORKER(work_signal_gently),
		WORKER(work_route), WORKER(work_close),
	};

	run_workers(&s, workers, ARRAY_SIZE(workers), stress_seconds(15));
}

/* As above, with a guest whose EOIs walk the resample irqfds. */
TEST_F_TIMEOUT(resample, race_teardown_vs_signal, TIMEOUT)
{
	struct stress s = {
		.vm = self->g.vm, .nr_fds = 3,
		.gsis = ioapic_gsi, .nr_gsis = 1,
	};
	struct worker workers[] = {
		WORKER(work_assign_resample), WORKER(work_assign_resample),
		WORKER(work_deassign), WORKER(work_signal_gently),
		WORKER(work_close),
	};
	int i;

	run_workers(&s, workers, ARRAY_SIZE(workers), stress_seconds(5));
	TEST_ASSERT(guest_count(&self->g, VECTOR(GSI_IOAPIC)),
		    "The guest has seen no interrupt");

	/* Afterwards, the GSI works as if nothing had happened. */
	for (i = 0; i < s.nr_fds; i++)
		irqfd_deassign(self->g.vm, atomic_load(&s.fds[i]), GSI_IOAPIC);
	guest_settle(&self->g);
	irqfd_assign_resample(self->g.vm, self->fd[0], GSI_IOAPIC,
			      self->resamplefd[0]);
	assert_resampled(&self->g, self->fd[0], self->resamplefd, BIT(0));
}

/* A second thread that closes eventfds at the same time as the first acts. */
struct closer {
	pthread_t thread;
	atomic_uint gate;
	atomic_uint done;
	bool stop;
	unsigned int seed;
	int nr;
	int fds[16];
	/* Close by dup2() of this one onto the descriptor, if not -1. */
	int replacement;
	bool signal;
};

static void jitter(unsigned int *seed)
{
	int i = rand_r(seed) % 4096;

	while (i--)
		asm volatile("pause");
}

static void closer_close(struct closer *c)
{
	int i, r;

	for (i = 0; i < c->nr; i++) {
		if (c->signal)
			eventfd_add(c->fds[i], 1);
		if (c->replacement < 0) {
			close_fd(c->fds[i]);
			continue;
		}
		r = dup2(c->replacement, c->fds[i]);
		TEST_ASSERT(r >= 0, __KVM_SYSCALL_ERROR("dup2()", r));
	}
}

static void *closer_thread(void *arg)
{
	struct closer *c = arg;
	unsigned int round = 0;

	for (;;) {
		while (atomic_load(&c->gate) == round)
			sched_yield();
		round++;
		if (READ_ONCE(c->stop))
			return NULL;
		jitter(&c->seed);
		closer_close(c);
		atomic_store(&c->done, round);
	}
}

static void closer_start(struct closer *c)
{
	int r;

	memset(c, 0, sizeof(*c));
	c->replacement = -1;
	r = pthread_create(&c->thread, NULL, closer_thread, c);
	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
}

static void closer_go(struct closer *c)
{
	atomic_fetch_add(&c->gate, 1);
}

static void closer_wait(struct closer *c)
{
	while (atomic_load(&c->done) != atomic_load(&c->gate))
		sched_yield();
}

static void closer_end(struct closer *c)
{
	WRITE_ONCE(c->stop, true);
	closer_go(c);
	pthread_join(c->thread, NULL);
}

/* The deassign has looked up the eventfd when the close ends it, or not yet. */
TEST_F_TIMEOUT(race, deassign_vs_close, TIMEOUT)
{
	time_t end = time(NULL) + stress_seconds(6);
	unsigned long round, lost = 0;
	unsigned int seed = 1;
	struct closer c;
	u32 gsi;
	int fd, err;

	closer_start(&c);
	c.nr = 1;
	for (round = 0; time(NULL) < end; round++) {
		gsi = mixed_gsis[round % ARRAY_SIZE(mixed_gsis)];
		fd = new_eventfd(0);
		if (rand_r(&seed) & 1)
			eventfd_add(fd, 1);
		irqfd_assign(self->vm, fd, gsi);

		c.fds[0] = fd;
		c.signal = rand_r(&seed) & 1;
		c.replacement = rand_r(&seed) & 1 ? new_eventfd(0) : -1;
		closer_go(&c);
		jitter(&seed);
		err = irqfd_try_deassign(self->vm, fd, gsi);
		closer_wait(&c);

		TEST_ASSERT(!err || (err == EBADF && c.replacement < 0),
			    "Deassign failed with errno %d", err);
		lost += !!err;
		if (c.replacement >= 0) {
			close_fd(c.replacement);
			close_fd(fd);
		}
	}
	closer_end(&c);
	ksft_print_msg("%lu rounds, in %lu the close was first\n", round, lost);
}

TEST_F_TIMEOUT(race, release_vs_close, TIMEOUT)
{
	time_t end = time(NULL) + stress_seconds(8);
	unsigned int seed = 1;
	unsigned long round;
	struct kvm_vm *vm;
	struct closer c;
	int i;

	closer_start(&c);
	c.nr = ARRAY_SIZE(c.fds);
	for (round = 0; time(NULL) < end; round++) {
		/* Default routes only: the rounds count, not the interrupts. */
		vm = vm_create_barebones();
		vm_create_irqchip(vm);
		for (i = 0; i < c.nr; i++) {
			c.fds[i] = new_eventfd(0);
			if (rand_r(&seed) & 1)
				eventfd_add(c.fds[i], 1);
			irqfd_assign(vm, c.fds[i], GSI_IOAPIC + i % 4);
		}
		c.signal = round & 1;
		closer_go(&c);
		jitter(&seed);
		kvm_vm_free(vm);
		closer_wait(&c);
	}
	closer_end(&c);
	ksft_print_msg("%lu rounds\n", round);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQCHIP));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQ_ROUTING));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQFD));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQFD_RESAMPLE));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_SIGNAL_MSI));

	return test_harness_run(argc, argv);
}
