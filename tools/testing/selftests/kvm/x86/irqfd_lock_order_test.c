// SPDX-License-Identifier: GPL-2.0-only
/*
 * Take the locks of irqfds from all sides at once: routing updates, signals,
 * assigns and deassigns of an eventfd, and the close of assigned eventfds.  The
 * order in which KVM nests kvm->irqfds.lock and the lock of the eventfd's wait
 * queue matters most on PREEMPT_RT, where a signal may have to wait for a
 * routing update.  On other kernels it is lockdep that reports a wrong order, in
 * the kernel's log, and the test passes.
 *
 * The test fails if the threads hang, or if an ioctl fails in an unexpected way.
 * Threads that wait for a spinlock on PREEMPT_RT cannot be killed, so they run in
 * a process of their own that is left behind then.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "apic.h"
#include "kvm_util.h"
#include "test_util.h"

#define FIRST_GSI	24
#define NR_GSIS		32

/* GSIs that the threads do not share, so that no one deassigns another's irqfd */
#define GSI_SIGNALED	FIRST_GSI
#define GSI_BUSY	(FIRST_GSI + 1)
#define GSI_CLOSED	(FIRST_GSI + 2)
#define GSI_OTHER_VM	(FIRST_GSI + 3)
#define GSI_JUGGLED	(FIRST_GSI + 4)

enum job {
	JOB_ROUTE,
	JOB_SIGNAL,
	JOB_BUSY,
	JOB_CLOSE,
	JOB_OTHER_VM,
	JOB_JUGGLE,
	NR_JOBS,
};

static const char * const job_names[NR_JOBS] = {
	[JOB_ROUTE] = "routing update",
	[JOB_SIGNAL] = "signal",
	[JOB_BUSY] = "assign (EBUSY)",
	[JOB_CLOSE] = "assign and close",
	[JOB_OTHER_VM] = "assign in the other VM",
	[JOB_JUGGLE] = "assign and deassign",
};

static const struct test_case {
	const char *name;
	int nr_threads[NR_JOBS];
} test_cases[] = {
	{
		.name = "busy_eventfd",
		.nr_threads = {
			[JOB_ROUTE] = 1,
			[JOB_SIGNAL] = 2,
			[JOB_BUSY] = 2,
		},
	}, {
		.name = "close_and_deassign",
		.nr_threads = {
			[JOB_ROUTE] = 1,
			[JOB_SIGNAL] = 2,
			[JOB_BUSY] = 1,
			[JOB_CLOSE] = 1,
			[JOB_JUGGLE] = 1,
		},
	}, {
		.name = "two_vms",
		.nr_threads = {
			[JOB_ROUTE] = 1,
			[JOB_SIGNAL] = 2,
			[JOB_BUSY] = 1,
			[JOB_CLOSE] = 1,
			[JOB_OTHER_VM] = 1,
		},
	},
};

/* Shared by the process with the threads and the one that watches them */
struct shared {
	unsigned long count[NR_JOBS];
	bool stop;
	bool failed;
	int job;
	int error;
};

static struct shared *shared;
static struct kvm_vm *vm, *other_vm;
static struct kvm_irq_routing *routes;
static int efd;

/* Count one round of @job.  Return false if it was the last one. */
static bool keep_going(enum job job)
{
	__atomic_fetch_add(&shared->count[job], 1, __ATOMIC_RELAXED);
	return !READ_ONCE(shared->stop);
}

static void expect(enum job job, bool ok)
{
	int error = errno;

	if (ok)
		return;

	shared->job = job;
	shared->error = error;
	WRITE_ONCE(shared->failed, true);
	WRITE_ONCE(shared->stop, true);
}

/* Successful calls leave errno alone, expect() must not see an old one. */
static int try_irqfd(struct kvm_vm *vm, u32 gsi, int fd, u32 flags)
{
	errno = 0;
	return __kvm_irqfd(vm, gsi, fd, flags);
}

static struct kvm_irq_routing *create_msi_routes(void)
{
	struct kvm_irq_routing *routes = kvm_gsi_routing_create();
	struct kvm_irq_routing_entry *entry = routes->entries;
	int i;

	for (i = 0; i < NR_GSIS; i++, entry++) {
		entry->gsi = FIRST_GSI + i;
		entry->type = KVM_IRQ_ROUTING_MSI;
		entry->u.msi.address_lo = APIC_DEFAULT_GPA;
		entry->u.msi.data = 0x40 + i;
	}
	routes->nr = NR_GSIS;

	return routes;
}

static int set_routes(struct kvm_vm *vm)
{
	errno = 0;
	return __vm_ioctl(vm, KVM_SET_GSI_ROUTING, routes);
}

static void *route(void *unused)
{
	while (keep_going(JOB_ROUTE))
		expect(JOB_ROUTE, !set_routes(vm));

	return NULL;
}

static void *signal_eventfd(void *unused)
{
	u64 one = 1;

	while (keep_going(JOB_SIGNAL)) {
		errno = 0;
		expect(JOB_SIGNAL, write(efd, &one, sizeof(one)) == sizeof(one));
	}

	return NULL;
}

static void *assign_busy(void *unused)
{
	while (keep_going(JOB_BUSY))
		expect(JOB_BUSY, try_irqfd(vm, GSI_BUSY, efd, 0) && errno == EBUSY);

	return NULL;
}

static void *assign_and_close(void *unused)
{
	int i, fd;

	for (i = 1; keep_going(JOB_CLOSE); i++) {
		fd = eventfd(1, EFD_NONBLOCK);
		expect(JOB_CLOSE, fd >= 0);
		expect(JOB_CLOSE, !try_irqfd(vm, GSI_CLOSED, fd, 0));
		close(fd);

		/* Deassign waits for teardown, don't let that pile up. */
		if (!(i % 64))
			expect(JOB_CLOSE, !try_irqfd(vm, GSI_CLOSED, efd,
						     KVM_IRQFD_FLAG_DEASSIGN));
	}

	return NULL;
}

static void *assign_in_other_vm(void *unused)
{
	while (keep_going(JOB_OTHER_VM)) {
		expect(JOB_OTHER_VM,
		       try_irqfd(other_vm, GSI_OTHER_VM, efd, 0) && errno == EBUSY);
		expect(JOB_OTHER_VM, !try_irqfd(other_vm, GSI_OTHER_VM, efd,
						KVM_IRQFD_FLAG_DEASSIGN));
		expect(JOB_OTHER_VM, !set_routes(other_vm));
	}

	return NULL;
}

static void *assign_and_deassign(void *unused)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	expect(JOB_JUGGLE, fd >= 0);

	while (keep_going(JOB_JUGGLE)) {
		expect(JOB_JUGGLE, !try_irqfd(vm, GSI_JUGGLED, fd, 0));
		expect(JOB_JUGGLE, !try_irqfd(vm, GSI_JUGGLED, fd,
					      KVM_IRQFD_FLAG_DEASSIGN));
	}

	close(fd);
	return NULL;
}

typedef void *(*job_function)(void *);

static const job_function job_functions[NR_JOBS] = {
	[JOB_ROUTE] = route,
	[JOB_SIGNAL] = signal_eventfd,
	[JOB_BUSY] = assign_busy,
	[JOB_CLOSE] = assign_and_close,
	[JOB_OTHER_VM] = assign_in_other_vm,
	[JOB_JUGGLE] = assign_and_deassign,
};

/* The child: set up the VMs, run the threads until told to stop. */
static void run_threads(const struct test_case *tc)
{
	struct kvm_vcpu *vcpu, *other_vcpu;
	pthread_t threads[16];
	int null, i, j, n = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);

	vm = vm_create_with_one_vcpu(&vcpu, NULL);
	other_vm = vm_create_with_one_vcpu(&other_vcpu, NULL);

	routes = create_msi_routes();
	efd = kvm_new_eventfd();
	TEST_ASSERT(!set_routes(vm) && !set_routes(other_vm),
		    "KVM_SET_GSI_ROUTING failed, errno: %i (%s)", errno, strerror(errno));
	kvm_assign_irqfd(vm, GSI_SIGNALED, efd);

	/* Whoever reads the test's output must not wait for hung threads. */
	null = open("/dev/null", O_RDWR);
	TEST_ASSERT(null >= 0, __KVM_SYSCALL_ERROR("open(/dev/null)", null));
	for (i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		dup2(null, i);

	for (i = 0; i < NR_JOBS; i++)
		for (j = 0; j < tc->nr_threads[i] && n < ARRAY_SIZE(threads); j++)
			kvm_pthread_create(&threads[n++], NULL, job_functions[i], NULL);

	while (n)
		kvm_pthread_join(threads[--n], NULL);

	kvm_vm_free(vm);
	kvm_vm_free(other_vm);
}

/* Wait at most @seconds for the child.  Return false if it is still running. */
static bool wait_for_child(pid_t pid, int seconds, int *status)
{
	int i, r;

	for (i = 0; i < seconds * 10; i++) {
		r = waitpid(pid, status, WNOHANG);
		TEST_ASSERT(r >= 0, __KVM_SYSCALL_ERROR("waitpid()", r));
		if (r)
			return true;
		usleep(100 * 1000);
	}

	return false;
}

/* Say what each kind of threads got done, and which made no progress. */
static void report(const struct test_case *tc, const int *idle)
{
	int i;

	for (i = 0; i < NR_JOBS; i++) {
		if (tc->nr_threads[i])
			ksft_print_msg("%s: %lu%s\n", job_names[i],
				       READ_ONCE(shared->count[i]),
				       idle[i] > 1 ? ", stuck" : "");
	}
}

/*
 * Let the threads run for @seconds.  Return false, and leave the child behind, if
 * a thread makes no progress for @patience seconds, or does not end within that
 * time when told to.
 */
static bool watch(const struct test_case *tc, pid_t pid, int seconds, int patience,
		  int *status)
{
	unsigned long seen[NR_JOBS] = {};
	int idle[NR_JOBS] = {}, elapsed, i;
	bool hung = false;

	for (elapsed = 1; elapsed <= seconds + patience && !hung; elapsed++) {
		if (wait_for_child(pid, 1, status))
			break;

		for (i = 0; i < NR_JOBS; i++) {
			unsigned long count = READ_ONCE(shared->count[i]);

			idle[i] = count == seen[i] ? idle[i] + 1 : 0;
			seen[i] = count;
			hung |= tc->nr_threads[i] && idle[i] >= patience;
		}

		if (elapsed >= seconds)
			WRITE_ONCE(shared->stop, true);
	}

	report(tc, idle);
	if (hung || elapsed > seconds + patience) {
		ksft_print_msg("The threads hang, %d s after their start\n",
			       elapsed - 1 - patience);
		kill(pid, SIGKILL);
		return false;
	}

	return true;
}

/* Return true if the case passed.  Set @hung if threads that hang are left behind. */
static bool run(const struct test_case *tc, int seconds, int patience, bool *hung)
{
	int status = 0;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	fflush(stdout);

	pid = fork();
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
	if (!pid) {
		run_threads(tc);
		_exit(0);
	}

	*hung = !watch(tc, pid, seconds, patience, &status);
	if (*hung)
		return false;

	if (shared->failed) {
		ksft_print_msg("%s: unexpected %s, errno: %i (%s)\n",
			       job_names[shared->job],
			       shared->error ? "error" : "success",
			       shared->error, strerror(shared->error));
		return false;
	}

	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		ksft_print_msg("The process with the threads ended with status 0x%x\n",
			       status);
		return false;
	}

	return true;
}

static void help(const char *name)
{
	int i;

	printf("usage: %s [-h] [-s seconds] [-p seconds] [-r case]\n\n", name);
	printf(" -s: how long each case runs (default: 10)\n");
	printf(" -p: how long threads may make no progress (default: 20)\n");
	printf(" -r: run this case only, one of:\n");
	for (i = 0; i < ARRAY_SIZE(test_cases); i++)
		printf("     %s\n", test_cases[i].name);
}

int main(int argc, char *argv[])
{
	int seconds = 10, patience = 20, opt, i, n = 0;
	const char *only = NULL;
	struct utsname uts;
	bool hung = false;

	while ((opt = getopt(argc, argv, "hs:p:r:")) != -1) {
		switch (opt) {
		case 's':
			seconds = atoi_positive("Seconds", optarg);
			break;
		case 'p':
			patience = atoi_positive("Seconds", optarg);
			break;
		case 'r':
			only = optarg;
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQFD));
	TEST_REQUIRE(kvm_arch_has_default_irqchip());

	for (i = 0; i < ARRAY_SIZE(test_cases); i++)
		n += !only || !strcmp(only, test_cases[i].name);
	TEST_ASSERT(n, "There is no case '%s'", only);

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(shared != MAP_FAILED, __KVM_SYSCALL_ERROR("mmap()", -1));

	ksft_print_header();
	ksft_set_plan(n);
	if (!uname(&uts) && !strstr(uts.version, "PREEMPT_RT"))
		ksft_print_msg("This is not PREEMPT_RT, look for lockdep in the kernel's log\n");

	for (i = 0; i < ARRAY_SIZE(test_cases); i++) {
		const struct test_case *tc = &test_cases[i];

		if (only && strcmp(only, tc->name))
			continue;

		/* What hangs may hold up the teardown of all other irqfds. */
		if (hung) {
			ksft_test_result_skip("%s: threads of an earlier case hang\n",
					      tc->name);
			continue;
		}

		ksft_test_result(run(tc, seconds, patience, &hung), "%s\n", tc->name);
	}

	ksft_finished();
}
