// SPDX-License-Identifier: GPL-2.0-only
/* Test what userspace can rely on when it uses KVM_IRQFD. */
#include <sched.h>
#include <sys/epoll.h>

#include "irqfd_util.h"

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

/* The counter, without resetting it. */
#define eventfd_count(fd)	eventfd_info(fd, "eventfd-count: %lx")

/* Each test is a process of its own, so its data is global. */
static struct kvm_vcpu *irq_vcpu;
static struct kvm_vm *irq_vm;
static int irq_fd, marker;

/* Each test runs once for each way of injection. */
FIXTURE(abi) { };

FIXTURE_VARIANT(abi) { u32 gsi; };

FIXTURE_VARIANT_ADD(abi, ioapic) { .gsi = GSI_IOAPIC };
FIXTURE_VARIANT_ADD(abi, msi) { .gsi = GSI_MSI };

FIXTURE_SETUP(abi)
{
	irq_vm = irq_vm_create(&irq_vcpu);
	irq_fd = new_eventfd(0, 0);
	marker = new_eventfd(0, 0);
	irqfd_assign(irq_vm, marker, GSI_MARKER);

	/* Work items that one CPU queues start in order, for expect_pending(). */
	pin_to_cpu(sched_getcpu());
}

FIXTURE_TEARDOWN(abi)
{
	close(marker);
	close(irq_fd);
	kvm_vm_free(irq_vm);
}

/*
 * "No interrupt" cannot be waited for.  Signal an irqfd that uses the work item:
 * when that interrupt is there, the work items of all earlier ones have started.
 */
static void expect_pending(u32 gsi, bool pending)
{
	eventfd_add(marker, 1);
	wait_until(lapic_has(irq_vcpu, VECTOR(GSI_MARKER)) &&
		   lapic_has(irq_vcpu, VECTOR(gsi)) >= pending);
	TEST_ASSERT_EQ(lapic_has(irq_vcpu, VECTOR(gsi)), pending);
	lapic_reset(irq_vcpu);
}

static void signal_expect(int fd, u32 gsi, bool pending)
{
	lapic_reset(irq_vcpu);
	eventfd_add(fd, 1);
	expect_pending(gsi, pending);
}

#define expect_injects(fd, gsi)	signal_expect(fd, gsi, true)
#define expect_silent(fd, gsi)	signal_expect(fd, gsi, false)

/* One eventfd has one irqfd per VM, whatever the GSI and the descriptor. */
TEST_F(abi, busy)
{
	int dup_fd = dup(irq_fd);
	u32 gsi = variant->gsi;

	eventfd_add(irq_fd, 7);
	irqfd_assign(irq_vm, irq_fd, gsi);
	expect_pending(gsi, true);

	/* What is refused neither injects nor touches the counter. */
	TEST_ASSERT_EQ(irqfd_try_assign(irq_vm, irq_fd, gsi), EBUSY);
	TEST_ASSERT_EQ(irqfd_try_assign(irq_vm, irq_fd, gsi + 1), EBUSY);
	TEST_ASSERT_EQ(irqfd_try_assign(irq_vm, dup_fd, gsi + 1), EBUSY);
	expect_pending(gsi, false);
	TEST_ASSERT_EQ(eventfd_count(irq_fd), 7L);
	expect_injects(irq_fd, gsi);

	irqfd_deassign(irq_vm, dup_fd, gsi);
	expect_silent(irq_fd, gsi);
	irqfd_assign(irq_vm, dup_fd, gsi + 1);

	/* The irqfd lasts as long as any descriptor of the eventfd. */
	close(irq_fd);
	expect_injects(dup_fd, gsi + 1);
	irq_fd = dup_fd;
}

TEST_F(abi, bad_arguments)
{
	u32 deassign = KVM_IRQFD_FLAG_DEASSIGN;
	u32 known = deassign | KVM_IRQFD_FLAG_RESAMPLE;
	struct kvm_vm *vm = vm_create_barebones();
	int null = open("/dev/null", O_RDWR);
	int closed = new_eventfd(0, 0);
	int fd = irq_fd;
	int i;

	close(closed);
	TEST_ASSERT_EQ(irqfd_try_assign(irq_vm, -1, GSI_MSI), EBADF);
	TEST_ASSERT_EQ(irqfd_try_assign(irq_vm, closed, GSI_MSI), EBADF);
	TEST_ASSERT_EQ(irqfd_try_deassign(irq_vm, closed, GSI_MSI), EBADF);
	TEST_ASSERT_EQ(irqfd_try_resample(irq_vm, fd, closed), EBADF);

	TEST_ASSERT_EQ(irqfd_try_assign(irq_vm, null, GSI_MSI), EINVAL);
	TEST_ASSERT_EQ(irqfd_try_deassign(irq_vm, null, GSI_MSI), EINVAL);
	TEST_ASSERT_EQ(irqfd_try_resample(irq_vm, fd, null), EINVAL);

	for (i = 0; i < 32; i++) {
		if (BIT(i) & known)
			continue;
		TEST_ASSERT_EQ(irqfd_ioctl(irq_vm, fd, GSI_MSI, BIT(i), 0), EINVAL);
		TEST_ASSERT_EQ(irqfd_ioctl(irq_vm, fd, GSI_MSI, BIT(i) | deassign, 0), EINVAL);
	}

	/* A VM without interrupt controllers. */
	TEST_ASSERT_EQ(irqfd_try_assign(vm, fd, GSI_MSI), EINVAL);
	irqfd_deassign(vm, fd, GSI_MSI);
	kvm_vm_free(vm);

	/* Nothing remains of all this. */
	expect_silent(fd, variant->gsi);
	TEST_ASSERT_EQ(eventfd_take(fd), 1UL);
	irqfd_assign(irq_vm, fd, variant->gsi);
	expect_injects(fd, variant->gsi);
}

/* A deassign that matches nothing succeeds, and leaves the counter alone. */
TEST_F(abi, deassign_matches_nothing)
{
	int fd = new_eventfd(3, 0);

	irqfd_deassign(irq_vm, fd, variant->gsi);
	irqfd_assign(irq_vm, irq_fd, variant->gsi);
	irqfd_deassign(irq_vm, fd, variant->gsi);
	TEST_ASSERT_EQ(eventfd_take(fd), 3UL);

	irqfd_deassign(irq_vm, irq_fd, variant->gsi + 1);
	expect_injects(irq_fd, variant->gsi);
}

/* Teardown in one VM leaves the other VM alone.  Some kernels refuse the second VM. */
TEST_F(abi, two_vms)
{
	struct kvm_vm *other = irq_vm_create(NULL);
	u32 gsi = variant->gsi;
	int i, err;

	for (i = 0; i < 2; i++) {
		irqfd_assign(irq_vm, irq_fd, gsi);
		err = irqfd_try_assign(other, irq_fd, gsi);
		TEST_ASSERT(!err || err == EBUSY, "Wanted success or EBUSY, got %d", err);
		if (i)
			kvm_vm_free(other);
		else
			irqfd_deassign(other, irq_fd, gsi);
		expect_injects(irq_fd, gsi);
		irqfd_deassign(irq_vm, irq_fd, gsi);
	}
}

/* An irqfd follows its route.  Without a route, the event is swallowed. */
TEST_F(abi, route)
{
	u32 gsi = variant->gsi;
	int i;

	irqfd_assign(irq_vm, irq_fd, gsi);
	for (i = 0; i < 10; i++) {
		set_routes(irq_vm, i & 1);
		expect_injects(irq_fd, gsi ^ (i & 1));
		eventfd_add(irq_fd, 1);
		expect_pending(gsi ^ !(i & 1), false);
	}
	kvm_gsi_routing_write(irq_vm, kvm_gsi_routing_create());
	eventfd_add(irq_fd, 1);
	TEST_ASSERT_EQ(eventfd_take(irq_fd), 0UL);
}

/*
 * A wake-up and the end of the irqfd each read the counter once: all of it, or one
 * with EFD_SEMAPHORE.  An event that is pending at assign is injected, but stays
 * in the counter until then.
 */
TEST_F(abi, counter)
{
	long left, sem;
	int i, fd, end;
	struct kvm_vm *vm;
	u32 gsi = variant->gsi;

	for (i = 0; i < 4; i++) {
		sem = i & 1;
		end = i & 2;
		fd = new_eventfd(5, sem ? EFD_SEMAPHORE : 0);
		vm = end ? irq_vm_create(NULL) : irq_vm;

		irqfd_assign(vm, fd, gsi);
		if (!end)
			expect_pending(gsi, true);
		TEST_ASSERT_EQ(eventfd_count(fd), 5L);
		if (end)
			kvm_vm_free(vm);
		else
			irqfd_deassign(vm, fd, gsi);
		left = sem ? 4 : 0;
		TEST_ASSERT_EQ(eventfd_count(fd), left);

		irqfd_assign(irq_vm, fd, gsi);
		expect_pending(gsi, sem);
		eventfd_add(fd, 3);
		left = sem ? left + 3 - 1 : 0;
		TEST_ASSERT_EQ(eventfd_count(fd), left);
		expect_pending(gsi, true);
		irqfd_deassign(irq_vm, fd, gsi);
		TEST_ASSERT_EQ(eventfd_count(fd), left - sem);
		expect_pending(gsi, false);

		eventfd_add(fd, 3);
		TEST_ASSERT_EQ(eventfd_count(fd), left - sem + 3);
	}
}

/*
 * A signal before deassign is injected when deassign returns, and nothing is
 * injected afterwards, neither what was in flight nor a new event.
 */
TEST_F(abi, nothing_after_deassign)
{
	u32 gsi = variant->gsi;
	bool pending;
	int i;

	for (i = 0; i < 200; i++) {
		/* Alternate between an event before and one after assign. */
		if (i & 1)
			eventfd_add(irq_fd, 1);
		irqfd_assign(irq_vm, irq_fd, gsi);
		if (!(i & 1))
			eventfd_add(irq_fd, 1);
		irqfd_deassign(irq_vm, irq_fd, gsi);

		pending = lapic_has(irq_vcpu, VECTOR(gsi));
		TEST_ASSERT(pending, "Lost interrupt in round %d", i);
		expect_silent(irq_fd, gsi);
		TEST_ASSERT_EQ(eventfd_take(irq_fd), 1UL);

		/* The eventfd is free for another GSI at once. */
		irqfd_assign(irq_vm, irq_fd, gsi + 1);
		irqfd_deassign(irq_vm, irq_fd, gsi + 1);
	}
}

/* The end of an irqfd resets the counter, and so wakes who waits for room. */
TEST_F(abi, room_wakes_waiter)
{
	struct epoll_event event = { .events = EPOLLOUT | EPOLLET };
	int epoll_fd = epoll_create1(0);
	struct kvm_vm *vm;
	int fd, i;

	for (i = 0; i < 2; i++) {
		vm = i ? irq_vm_create(NULL) : irq_vm;
		fd = new_eventfd(UINT64_MAX - 1, 0);
		irqfd_assign(vm, fd, variant->gsi);
		TEST_ASSERT_EQ(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
		TEST_ASSERT_EQ(epoll_wait(epoll_fd, &event, 1, 0), 0);
		if (i)
			kvm_vm_free(vm);
		else
			irqfd_deassign(vm, fd, variant->gsi);
		TEST_ASSERT_EQ(epoll_wait(epoll_fd, &event, 1, 0), 1);
		close(fd);
	}
}

#define NR_REFS		40

/*
 * A new eventfd gets the lowest free id, and an id is free once the last reference
 * is gone.  So references that leak raise the ids of new eventfds.
 */
static long highest_eventfd_id(void)
{
	int i, fds[2 * NR_REFS];
	long id;

	for (i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = new_eventfd(0, 0);
	id = eventfd_info(fds[i - 1], "eventfd-id: %ld");
	while (i--)
		close(fds[i]);
	return id;
}

TEST_F(abi, no_reference_leaks)
{
	long limit = highest_eventfd_id() + NR_REFS / 2;
	int i, how, fd[NR_REFS];
	struct kvm_vm *vm;

	for (how = 0; how < 3; how++) {
		vm = irq_vm_create(NULL);
		for (i = 0; i < NR_REFS; i++) {
			fd[i] = new_eventfd(0, 0);
			irqfd_resample(vm, fd[i], fd[i]);
			TEST_ASSERT_EQ(irqfd_try_resample(vm, fd[i], fd[i]), EBUSY);
			if (how == 1)
				irqfd_deassign(vm, fd[i], GSI_IOAPIC);
		}
		if (how == 2)
			kvm_vm_free(vm);
		/* Ends those that neither deassign nor release has ended. */
		for (i = 0; i < NR_REFS; i++)
			close(fd[i]);
		wait_until(highest_eventfd_id() < limit);
		if (how != 2)
			kvm_vm_free(vm);
	}
}

/* Resample irqfds: the guest's EOI notifies all irqfds of the GSI. */
#define NR_RESAMPLE	3
static int rs_fd[NR_RESAMPLE], rs_resamplefd[NR_RESAMPLE];

/* Expect one interrupt, and one notification for each irqfd in @who and no other. */
static void expect_resampled(struct guest *g, int fd, unsigned int who)
{
	u64 count = READ_ONCE(g->state->count);
	int i;

	eventfd_add(fd, 1);
	for (i = 0; i < NR_RESAMPLE; i++) {
		if (who & BIT(i))
			wait_until(eventfd_take(rs_resamplefd[i]));
	}
	TEST_ASSERT_EQ(READ_ONCE(g->state->count), count + 1);
	for (i = 0; i < NR_RESAMPLE; i++)
		TEST_ASSERT_EQ(eventfd_take(rs_resamplefd[i]), 0UL);
}

TEST(resample)
{
	unsigned int all = 0;
	struct kvm_vm *vm;
	struct guest g;
	int i, j;

	guest_start(&g);
	vm = g.vm;
	for (i = 0; i < NR_RESAMPLE; i++) {
		rs_fd[i] = new_eventfd(0, 0);
		rs_resamplefd[i] = new_eventfd(0, 0);
	}

	/* Pending at assign. */
	eventfd_add(rs_fd[0], 1);
	irqfd_resample(vm, rs_fd[0], rs_resamplefd[0]);
	wait_until(eventfd_take(rs_resamplefd[0]));
	irqfd_deassign(vm, rs_fd[0], GSI_IOAPIC);

	for (i = 0; i < NR_RESAMPLE; i++) {
		irqfd_resample(vm, rs_fd[i], rs_resamplefd[i]);
		all |= BIT(i);
		for (j = 0; j <= i; j++)
			expect_resampled(&g, rs_fd[j], all);
	}

	/* What is refused leaves no trace, e.g. a second resamplefd. */
	TEST_ASSERT_EQ(irqfd_try_resample(vm, rs_fd[0], rs_resamplefd[1]), EBUSY);

	/* Deassign accepts RESAMPLE and ignores it. */
	for (i = 0; i < 20; i++) {
		TEST_ASSERT_EQ(irqfd_ioctl(vm, rs_fd[1], GSI_IOAPIC, KVM_IRQFD_FLAG_DEASSIGN |
					   KVM_IRQFD_FLAG_RESAMPLE, -1), 0);
		expect_resampled(&g, rs_fd[i & 2], all & ~BIT(1));
		irqfd_resample(vm, rs_fd[1], rs_resamplefd[1]);
		expect_resampled(&g, rs_fd[1], all);
	}

	for (i = 0; i < NR_RESAMPLE; i++) {
		irqfd_deassign(vm, rs_fd[i], GSI_IOAPIC);
		eventfd_add(rs_fd[i], 1);
		TEST_ASSERT_EQ(eventfd_take(rs_fd[i]), 1UL);
	}
	guest_end(&g);
}

int main(int argc, char *argv[])
{
	irqfd_require();

	return test_harness_run(argc, argv);
}
