/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers for the tests of KVM_IRQFD.
 *
 * Tests without a guest look at the IRR of a vCPU that never runs, which only
 * injection changes.  An MSI is injected by the write to the eventfd, an interrupt
 * of the I/O APIC by a work item after it.
 */
#ifndef SELFTEST_KVM_IRQFD_UTIL_H
#define SELFTEST_KVM_IRQFD_UTIL_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#include "kselftest_harness.h"

#include "apic.h"
#include "kvm_util.h"
#include "test_util.h"

/*
 * By default, GSIs 16 to 23 are routed to the pins of the I/O APIC, and those
 * from 24 on have no route.
 */
#define GSI_MARKER		16
#define GSI_IOAPIC		20
#define GSI_MSI			24
#define GSI_NONE		100
#define NR_GSIS			32

#define VECTOR(gsi)		(0x40 + (gsi))

/* Less than the harness gives to a test, which is less than "settings" allows. */
#define WAIT_SECONDS		20

#define wait_until(cond)						\
do {									\
	time_t __end = time(NULL) + WAIT_SECONDS;			\
									\
	while (!(cond)) {						\
		TEST_ASSERT(time(NULL) < __end, "Timed out: %s", #cond);	\
		usleep(100);						\
	}								\
} while (0)

static inline void thread_create(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	int r = pthread_create(thread, NULL, fn, arg);

	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
}

static inline void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(set), &set), "Cannot use CPU %d", cpu);
}

/* Returns false if the eventfd has been closed, or its counter is full. */
static inline bool eventfd_try_add(int fd, u64 val)
{
	return write(fd, &val, sizeof(val)) == sizeof(val);
}

static inline void eventfd_add(int fd, u64 val)
{
	TEST_ASSERT(eventfd_try_add(fd, val), "Cannot signal the eventfd, errno: %d", errno);
}

static inline int new_eventfd(u64 count, int flags)
{
	int fd = eventfd(0, EFD_NONBLOCK | flags);

	TEST_ASSERT(fd >= 0, __KVM_SYSCALL_ERROR("eventfd()", fd));
	if (count)
		eventfd_add(fd, count);
	return fd;
}

/* read(), but 0 for an empty or closed eventfd. */
static inline u64 eventfd_take(int fd)
{
	u64 val;

	return read(fd, &val, sizeof(val)) == sizeof(val) ? val : 0;
}

/* KVM_IRQFD, returns 0 or the errno. */
static inline int irqfd_ioctl(struct kvm_vm *vm, int fd, u32 gsi, u32 flags, int resamplefd)
{
	struct kvm_irqfd irqfd = {
		.fd = fd,
		.gsi = gsi,
		.flags = flags,
		.resamplefd = resamplefd,
	};

	return __vm_ioctl(vm, KVM_IRQFD, &irqfd) ? errno : 0;
}

#define irqfd_try_assign(vm, fd, gsi)	irqfd_ioctl(vm, fd, gsi, 0, 0)
#define irqfd_try_deassign(vm, fd, gsi)	irqfd_ioctl(vm, fd, gsi, KVM_IRQFD_FLAG_DEASSIGN, 0)

#define irqfd_assign(vm, fd, gsi)	TEST_ASSERT_EQ(irqfd_try_assign(vm, fd, gsi), 0)
#define irqfd_deassign(vm, fd, gsi)	TEST_ASSERT_EQ(irqfd_try_deassign(vm, fd, gsi), 0)
#define irqfd_try_resample(vm, fd, resamplefd)				\
	irqfd_ioctl(vm, fd, GSI_IOAPIC, KVM_IRQFD_FLAG_RESAMPLE, resamplefd)
#define irqfd_resample(vm, fd, resamplefd)				\
	TEST_ASSERT_EQ(irqfd_try_resample(vm, fd, resamplefd), 0)

/*
 * Route the upper pins of the I/O APIC, and MSIs for the GSIs above.  With @flip,
 * the GSIs from GSI_IOAPIC on take the target of their neighbour.
 */
static inline void set_routes(struct kvm_vm *vm, u32 flip)
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

/* Send every pin from GSI_MARKER on to vCPU 0. */
static inline void ioapic_setup(struct kvm_vm *vm, bool level)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	u32 pin;

	vm_ioctl(vm, KVM_GET_IRQCHIP, &chip);
	for (pin = GSI_MARKER; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		chip.chip.ioapic.redirtbl[pin].bits = VECTOR(pin);
		chip.chip.ioapic.redirtbl[pin].fields.trig_mode = level;
	}
	vm_ioctl(vm, KVM_SET_IRQCHIP, &chip);
}

/* Enable the local APIC of a vCPU that does not run, with an empty IRR. */
static inline void lapic_reset(struct kvm_vcpu *vcpu)
{
	struct kvm_lapic_state lapic;
	int i;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	*(u32 *)&lapic.regs[APIC_SPIV] = 0xff | APIC_SPIV_APIC_ENABLED;
	for (i = 0; i < 8; i++)
		*(u32 *)&lapic.regs[APIC_IRR + i * 0x10] = 0;
	vcpu_ioctl(vcpu, KVM_SET_LAPIC, &lapic);
}

static inline bool lapic_has(struct kvm_vcpu *vcpu, int vector)
{
	struct kvm_lapic_state lapic;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	return *(u32 *)&lapic.regs[APIC_IRR + vector / 32 * 0x10] & BIT(vector % 32);
}

/* A VM with all interrupt controllers, one vCPU that never runs, and no memory. */
static inline struct kvm_vm *irq_vm_create(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create_barebones();

	vm_create_irqchip(vm);
	set_routes(vm, 0);
	ioapic_setup(vm, false);
	if (vcpu) {
		*vcpu = __vm_vcpu_add(vm, 0);
		lapic_reset(*vcpu);
	}
	return vm;
}

/* A guest that takes interrupts and counts them. */
static struct guest_state {
	u64 count;
	bool stop;
} guest_state;

struct guest {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct guest_state *state;
	pthread_t thread;
};

static void guest_irq_handler(struct ex_regs *regs)
{
	WRITE_ONCE(guest_state.count, guest_state.count + 1);
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

static inline void guest_run(struct kvm_vcpu *vcpu, u64 cmd)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), cmd);
}

static inline void *guest_thread(void *vcpu)
{
	guest_run(vcpu, UCALL_DONE);
	return NULL;
}

/* Level-triggered, as resample irqfds need it. */
static inline void guest_start(struct guest *g)
{
	g->vm = vm_create_with_one_vcpu(&g->vcpu, guest_code);
	g->state = addr_gva2hva(g->vm, (unsigned long)&guest_state);
	vm_install_exception_handler(g->vm, VECTOR(GSI_IOAPIC), guest_irq_handler);
	vm_install_exception_handler(g->vm, VECTOR(GSI_MSI), guest_irq_handler);
	set_routes(g->vm, 0);

	/* Interrupts that come before the guest enables its APIC are lost. */
	guest_run(g->vcpu, UCALL_SYNC);
	ioapic_setup(g->vm, true);
	thread_create(&g->thread, guest_thread, g->vcpu);
}

static inline void guest_end(struct guest *g)
{
	struct kvm_msi msi = { .address_lo = APIC_DEFAULT_GPA, .data = VECTOR(GSI_MSI) };

	WRITE_ONCE(g->state->stop, true);
	TEST_ASSERT(__vm_ioctl(g->vm, KVM_SIGNAL_MSI, &msi) >= 0, "errno: %d", errno);
	pthread_join(g->thread, NULL);
	kvm_vm_free(g->vm);
}

static inline void irqfd_require(void)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQCHIP));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQFD_RESAMPLE));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_SIGNAL_MSI));
}

#endif /* SELFTEST_KVM_IRQFD_UTIL_H */
