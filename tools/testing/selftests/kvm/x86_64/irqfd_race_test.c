// SPDX-License-Identifier: GPL-2.0-only
/*
 * Race the ways to end an irqfd (deassign, release of the VM, close of the eventfd)
 * against assign, signals, other readers of the eventfd, routing updates, and each
 * other.
 *
 * The tests that count events fail if one gets lost.  In the others, it is mostly
 * the kernel that notices a bug.  What it reports, e.g. lockdep, does not fail the
 * test: look at the kernel's log, or boot with panic_on_warn=1.
 *
 * Each race takes a second, or as long as IRQFD_RACE_SECONDS in the environment says.
 */
#include <linux/stddef.h>	/* for io_uring.h */
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "irqfd_util.h"

#define MAX_FDS		512
#define MIN_ROUNDS	12

static unsigned int race_seconds = 1;

/* Each test is a process of its own, so its data is global. */
static struct kvm_vcpu *vcpu;
static struct kvm_vm *vm, *vm2;
static int fds[MAX_FDS], nr_fds;
static u32 gsis[] = { GSI_MSI, GSI_MSI + 1, GSI_IOAPIC, GSI_IOAPIC + 1 };
static int nr_gsis = 1;
static int resamplefd = -1;

static void add_fds(int nr)
{
	for (; nr_fds < nr; nr_fds++)
		fds[nr_fds] = new_eventfd(0, 0);
}

/*
 * A race is a number of rounds, some even if the machine is slow.  In each round, all
 * jobs run once, at the same time, in threads of their own.
 */
struct worker {
	void (*job)(unsigned int *seed);
	pthread_t thread;
};

static pthread_barrier_t race_begin, race_end;
static bool race_stop;

static void *worker_thread(void *arg)
{
	struct worker *w = arg;
	unsigned int i, seed = (unsigned long)w;

	for (;;) {
		pthread_barrier_wait(&race_begin);
		if (READ_ONCE(race_stop))
			return NULL;
		for (i = rand_r(&seed) % 2048; i; i--)
			asm volatile("pause");
		w->job(&seed);
		pthread_barrier_wait(&race_end);
	}
}

/* @prepare and @check may be NULL.  Returns the number of rounds. */
static unsigned int __race(void (*prepare)(unsigned int round), void (*check)(void),
			   struct worker *workers, int nr)
{
	time_t end = time(NULL) + race_seconds;
	unsigned int round;
	int i;

	pthread_barrier_init(&race_begin, NULL, nr + 1);
	pthread_barrier_init(&race_end, NULL, nr + 1);
	for (i = 0; i < nr; i++)
		thread_create(&workers[i].thread, worker_thread, &workers[i]);
	for (round = 0; round < MIN_ROUNDS || time(NULL) < end; round++) {
		if (prepare)
			prepare(round);
		pthread_barrier_wait(&race_begin);
		pthread_barrier_wait(&race_end);
		if (check)
			check();
	}
	WRITE_ONCE(race_stop, true);
	pthread_barrier_wait(&race_begin);
	for (i = 0; i < nr; i++)
		pthread_join(workers[i].thread, NULL);
	return round;
}

#define race(_prepare, _check, ...)						\
({										\
	struct worker __workers[] = { __VA_ARGS__ };				\
	__race(_prepare, _check, __workers, ARRAY_SIZE(__workers));		\
})

/*
 * Conservation: each round signals one event.  Afterwards it has been injected, has
 * been read by somebody else, or is still in the counter.  An event that is pending
 * at assign is injected and stays in the counter, so both can be true for it.
 */
static enum end { DEASSIGN, RELEASE, CLOSE } how;
static bool pending, reads;
static atomic_bool assigned;
static u64 signaled, taken;
static unsigned long lost, extra, injected;
static int idle, flags, null, cpu;

static void conserve_prepare(unsigned int round)
{
	pending = round & 1;
	signaled = pending;
	reads = (round & 6) == 6;
	taken = 0;
	fds[0] = new_eventfd(pending, flags);
	atomic_store(&assigned, false);
	if (how == RELEASE && round) {
		kvm_vm_free(vm);
		vm = irq_vm_create(&vcpu);
	}
	lapic_reset(vcpu);
	if (how != DEASSIGN)
		irqfd_assign(vm, fds[0], gsis[0]);
}

/*
 * Timer interrupts for the CPU of conserve_assign().  What comes while the kernel has
 * disabled interrupts is taken when it drops its locks, and lets the others go first.
 */
static void *ticker_thread(void *arg)
{
	pin_to_cpu(cpu);
	while (!READ_ONCE(race_stop))
		usleep(10);
	return NULL;
}

static void conserve_assign(unsigned int *seed)
{
	pin_to_cpu(cpu);
	if (how == DEASSIGN)
		irqfd_assign(vm, fds[0], gsis[0]);
	atomic_store(&assigned, true);
}

static void conserve_end(unsigned int *seed)
{
	if (how == CLOSE)
		close(fds[0]);
	else if (how == RELEASE)	/* The vCPU keeps the local APIC. */
		TEST_ASSERT(dup2(null, vm->fd) >= 0, "dup2(), errno: %d", errno);
	else
		do {
			irqfd_deassign(vm, fds[0], gsis[0]);
		} while (!atomic_load(&assigned));
}

static void conserve_signal(unsigned int *seed)
{
	if (!pending)
		signaled = eventfd_try_add(fds[0], 1);
}

static void conserve_read(unsigned int *seed)
{
	if (reads)
		taken = eventfd_take(fds[0]);
}

static void conserve_check(void)
{
	u64 in, left = 0;

	/* Deassign waits for all irqfds that are being torn down. */
	if (how == DEASSIGN)
		irqfd_deassign(vm, fds[0], gsis[0]);
	else if (how == CLOSE)
		irqfd_deassign(vm, idle, GSI_NONE);
	in = lapic_has(vcpu, VECTOR(gsis[0]));
	if (how != CLOSE) {
		left = eventfd_take(fds[0]);
		close(fds[0]);
	}
	injected += in;
	lost += in + left + taken < signaled;
	extra += in + left + taken > signaled + (in && taken);
}

FIXTURE(conserve) { };

FIXTURE_VARIANT(conserve)
{
	enum end how;
	int flags;
	u32 gsi;
};

FIXTURE_VARIANT_ADD(conserve, deassign_msi) { DEASSIGN, 0, GSI_MSI };
FIXTURE_VARIANT_ADD(conserve, deassign_ioapic) { DEASSIGN, 0, GSI_IOAPIC };
FIXTURE_VARIANT_ADD(conserve, deassign_semaphore_msi) { DEASSIGN, EFD_SEMAPHORE, GSI_MSI };
FIXTURE_VARIANT_ADD(conserve, deassign_semaphore_ioapic) { DEASSIGN, EFD_SEMAPHORE, GSI_IOAPIC };
FIXTURE_VARIANT_ADD(conserve, release_msi) { RELEASE, 0, GSI_MSI };
FIXTURE_VARIANT_ADD(conserve, release_ioapic) { RELEASE, 0, GSI_IOAPIC };
FIXTURE_VARIANT_ADD(conserve, release_semaphore_msi) { RELEASE, EFD_SEMAPHORE, GSI_MSI };
FIXTURE_VARIANT_ADD(conserve, release_semaphore_ioapic) { RELEASE, EFD_SEMAPHORE, GSI_IOAPIC };
FIXTURE_VARIANT_ADD(conserve, close_msi) { CLOSE, 0, GSI_MSI };
FIXTURE_VARIANT_ADD(conserve, close_ioapic) { CLOSE, 0, GSI_IOAPIC };
FIXTURE_VARIANT_ADD(conserve, close_semaphore_msi) { CLOSE, EFD_SEMAPHORE, GSI_MSI };
FIXTURE_VARIANT_ADD(conserve, close_semaphore_ioapic) { CLOSE, EFD_SEMAPHORE, GSI_IOAPIC };

FIXTURE_SETUP(conserve)
{
	vm = irq_vm_create(&vcpu);
	gsis[0] = variant->gsi;
	how = variant->how;
	flags = variant->flags;
	idle = new_eventfd(0, 0);
	null = open("/dev/null", O_RDWR);
}

FIXTURE_TEARDOWN(conserve)
{
	kvm_vm_free(vm);
}

TEST_F(conserve, events)
{
	unsigned int rounds;
	pthread_t ticker;

	cpu = sched_getcpu();
	thread_create(&ticker, ticker_thread, NULL);
	rounds = race(conserve_prepare, conserve_check, { conserve_assign }, { conserve_end },
		      { conserve_signal }, { conserve_read });
	ksft_print_msg("%u rounds, %lu injected, %lu lost, %lu too many\n",
		       rounds, injected, lost, extra);
	TEST_ASSERT(!lost && !extra, "Events were lost or invented");
	TEST_ASSERT(injected, "No event was injected");
}

/* Jobs that pick an eventfd and a GSI, and do not care what the others do to them. */
static atomic_ulong nr_assigned, nr_closed;

#define pick_fd(seed)	READ_ONCE(fds[rand_r(seed) % nr_fds])
#define pick_gsi(seed)	(gsis[rand_r(seed) % nr_gsis])

static void assign(unsigned int *seed)
{
	int fd = pick_fd(seed), err;

	/* Let assign find an event, so that it has work to queue. */
	if (rand_r(seed) & 1)
		eventfd_try_add(fd, 1);
	err = irqfd_ioctl(vm, fd, pick_gsi(seed), resamplefd < 0 ? 0 : KVM_IRQFD_FLAG_RESAMPLE,
			  resamplefd);
	TEST_ASSERT(!err || err == EBUSY || err == EBADF, "Assign failed with errno %d", err);
	nr_assigned += !err;
}

static void deassign(unsigned int *seed)
{
	int err = irqfd_try_deassign(vm, pick_fd(seed), pick_gsi(seed));

	TEST_ASSERT(!err || err == EBADF, "Deassign failed with errno %d", err);
}

static void signal_fd(unsigned int *seed)
{
	eventfd_try_add(pick_fd(seed), 1);
}

static void update_routes(unsigned int *seed)
{
	set_routes(vm, rand_r(seed) & 1);
}

/* Others may still use the old descriptor, and find nothing or another eventfd. */
static void replace_fd(unsigned int *seed)
{
	int *fd = &fds[rand_r(seed) % nr_fds], old = *fd;

	WRITE_ONCE(*fd, new_eventfd(0, 0));
	close(old);
	nr_closed++;
}

/*
 * Deassign succeeds without a match, so count what cannot succeed without it: another
 * assign of an eventfd that nobody has closed.
 */
static void expect_progress(void)
{
	ksft_print_msg("%lu irqfds assigned, %lu eventfds closed\n", nr_assigned, nr_closed);
	TEST_ASSERT(nr_assigned > nr_fds, "Too few irqfds were assigned");
	TEST_ASSERT(nr_closed || nr_assigned > 2 * nr_fds, "No irqfd was deassigned");
}

FIXTURE(race) { };

FIXTURE_SETUP(race)
{
	vm = irq_vm_create(&vcpu);
}

FIXTURE_TEARDOWN(race)
{
	kvm_vm_free(vm);
}

TEST_F(race, assign_vs_deassign)
{
	add_fds(1);
	gsis[0] = GSI_IOAPIC;
	race(NULL, NULL, { assign }, { assign }, { deassign }, { deassign });
	expect_progress();
}

TEST_F(race, all_with_routing)
{
	add_fds(4);
	nr_gsis = ARRAY_SIZE(gsis);
	race(NULL, NULL, { assign }, { assign }, { deassign }, { signal_fd }, { update_routes },
	     { replace_fd });
	expect_progress();
}

/* The guest's EOIs walk the resample irqfds. */
static struct guest guest;

TEST(race_resample)
{
	guest_start(&guest);
	vm = guest.vm;
	add_fds(3);
	gsis[0] = GSI_IOAPIC;
	resamplefd = new_eventfd(0, 0);
	race(NULL, NULL, { assign }, { assign }, { deassign }, { signal_fd }, { replace_fd });
	expect_progress();
	TEST_ASSERT(eventfd_take(resamplefd), "The guest has resampled nothing");
	guest_end(&guest);
}

/*
 * The last resample irqfd of the GSI ends while the guest acknowledges its interrupt.
 * The next one of the GSI asserts the line, and must be notified.
 */
static void successor_prepare(unsigned int round)
{
	u64 count = READ_ONCE(guest.state->count);

	/* Nothing signals it now, but the last round's acknowledgment may have. */
	eventfd_take(fds[1]);
	irqfd_resample(vm, fds[0], fds[1]);
	eventfd_add(fds[0], 1);
	/* The EOI of the last round may have come late, and notify this one. */
	wait_until(READ_ONCE(guest.state->count) != count || eventfd_take(fds[1]));
}

static void end_first(unsigned int *seed)
{
	irqfd_deassign(vm, fds[0], GSI_IOAPIC);
}

static void begin_second(unsigned int *seed)
{
	irqfd_resample(vm, fds[2], fds[3]);
	/* An acknowledgment of the first does not count. */
	eventfd_take(fds[3]);
	eventfd_add(fds[2], 1);
}

static void successor_check(void)
{
	wait_until(eventfd_take(fds[3]));
	irqfd_deassign(vm, fds[2], GSI_IOAPIC);
	eventfd_take(fds[3]);
}

TEST(race_resample_successor)
{
	guest_start(&guest);
	vm = guest.vm;
	add_fds(4);
	race(successor_prepare, successor_check, { end_first }, { begin_second });
	guest_end(&guest);
}

/* The close of one eventfd ends irqfds of two VMs, unless the kernel forbids that. */
static void two_vms_prepare(unsigned int round)
{
	int err;

	fds[0] = new_eventfd(round & 1, 0);
	err = irqfd_try_assign(vm2, fds[0], GSI_MSI);
	if (!err)
		err = irqfd_try_assign(vm, fds[0], GSI_MSI);
	TEST_ASSERT(!err || err == EBUSY, "Assign failed with errno %d", err);
	nr_assigned += !err;
}

static void close_fds(unsigned int *seed)
{
	close(fds[0]);
}

TEST_F(race, close_vs_deassign)
{
	add_fds(1);
	vm2 = irq_vm_create(NULL);
	race(two_vms_prepare, NULL, { close_fds }, { deassign }, { signal_fd });
	ksft_print_msg("%lu eventfds served two VMs\n", nr_assigned);
	kvm_vm_free(vm2);
}

static void release_prepare(unsigned int round)
{
	vm2 = vm_create_barebones();
	vm_create_irqchip(vm2);
	two_vms_prepare(round);
}

static void release(unsigned int *seed)
{
	kvm_vm_free(vm2);
}

TEST_F(race, close_vs_release)
{
	add_fds(1);
	race(release_prepare, NULL, { close_fds }, { release }, { signal_fd });
	ksft_print_msg("%lu eventfds served two VMs\n", nr_assigned);
}

/* A routing update walks all irqfds, and must not lose the signal of any. */
static void signal_last(unsigned int *seed)
{
	eventfd_add(fds[nr_fds - 1], 1);
}

static void routing_check(void)
{
	TEST_ASSERT(lapic_has(vcpu, VECTOR(GSI_MSI)) || lapic_has(vcpu, VECTOR(GSI_MSI + 1)),
		    "Lost interrupt");
	lapic_reset(vcpu);
}

TEST_F(race, signal_vs_routing_of_many)
{
	int i;

	add_fds(MAX_FDS);
	for (i = 0; i < nr_fds; i++)
		irqfd_assign(vm, fds[i], GSI_MSI);
	race(NULL, routing_check, { update_routes }, { update_routes }, { signal_last });
}

/* An irqfd leaves nothing for other waiters, but they get what comes without one. */
static atomic_ulong received;
static u64 (*wait_for_event)(int fd);

static void *waiter_thread(void *arg)
{
	while (!READ_ONCE(race_stop))
		received += wait_for_event(fds[0]);
	return NULL;
}

static void race_waiter(void)
{
	time_t end = time(NULL) + race_seconds;
	unsigned long before;
	pthread_t thread;

	thread_create(&thread, waiter_thread, NULL);
	while (time(NULL) < end) {
		irqfd_assign(vm, fds[0], GSI_MSI);
		before = received;
		lapic_reset(vcpu);
		eventfd_add(fds[0], 1);
		TEST_ASSERT(lapic_has(vcpu, VECTOR(GSI_MSI)), "Lost interrupt");
		irqfd_deassign(vm, fds[0], GSI_MSI);
		TEST_ASSERT_EQ(received, before);

		eventfd_add(fds[0], 1);
		wait_until(received == before + 1);
	}
	WRITE_ONCE(race_stop, true);
	eventfd_add(fds[0], 1);
	pthread_join(thread, NULL);
}

static int epoll_fd;

static u64 wait_epoll(int fd)
{
	struct epoll_event event;

	epoll_wait(epoll_fd, &event, 1, -1);
	return eventfd_take(fd);
}

TEST_F(race, epoll_waiter)
{
	struct epoll_event event = { .events = EPOLLIN };

	add_fds(1);
	epoll_fd = epoll_create1(0);
	TEST_ASSERT(!epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[0], &event), "errno: %d", errno);
	wait_for_event = wait_epoll;
	race_waiter();
}

static struct io_uring_params params;
static struct io_uring_sqe *sqe;
static void *sq_ring, *cq_ring;
static int ring_fd;

static u64 wait_io_uring(int fd)
{
	u32 *tail = sq_ring + params.sq_off.tail, *head = cq_ring + params.cq_off.head;
	u64 val;

	*sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_READ, .fd = fd, .addr = (u64)&val, .len = sizeof(val),
	};
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	TEST_ASSERT_EQ(syscall(SYS_io_uring_enter, ring_fd, 1, 1, IORING_ENTER_GETEVENTS, 0), 1L);
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return val;
}

TEST_F(race, io_uring_waiter)
{
	ring_fd = syscall(SYS_io_uring_setup, 1, &params);
	if (ring_fd < 0)
		SKIP(return, "no io_uring, errno %d", errno);

	fds[0] = eventfd(0, 0);
	/* One entry, so that its index is always 0. */
	sq_ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_SQ_RING);
	cq_ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_CQ_RING);
	sqe = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_SQES);
	wait_for_event = wait_io_uring;
	race_waiter();
}

int main(int argc, char *argv[])
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	irqfd_require();

	if (getenv("IRQFD_RACE_SECONDS"))
		race_seconds = atoi_positive("Seconds", getenv("IRQFD_RACE_SECONDS"));
	for (f = __fixture_list; f; f = f->next)
		for (t = f->tests; t; t = t->next)
			t->timeout += race_seconds;
	return test_harness_run(argc, argv);
}
