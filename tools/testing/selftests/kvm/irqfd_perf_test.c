// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure what KVM_IRQFD costs: assign, deassign, signals, and the end of many irqfds
 * at once, quiet and next to a VM that ends.
 *
 * The figures are for comparison with another kernel on the same machine.  The test
 * fails only if something does not work.
 */
#include <getopt.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>

#include "apic.h"
#include "kvm_util.h"
#include "test_util.h"

#define GSI_IOAPIC	20
#define GSI_MSI		24
#define VECTOR		0x40
#define MAX_SAMPLES	20000
#define MAX_ROUNDS	20

static int max_irqfds = 4096;
static int rounds = 9;
static bool machine_readable, one_thread;
static int *fds;

static u64 samples[MAX_SAMPLES];
static int nr_samples;

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void add_sample(u64 begin)
{
	u64 ns = now() - begin;

	TEST_ASSERT(nr_samples < MAX_SAMPLES, "Too many samples, use fewer rounds");
	samples[nr_samples++] = ns;
}

static int compare(const void *a, const void *b)
{
	const u64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Print the samples of a row as time per operation, of which a sample has @ops. */
static void report(const char *row, int irqfds, int ops)
{
	double min, p50, p99, max;

	TEST_ASSERT(nr_samples, "%s: nothing was measured", row);
	qsort(samples, nr_samples, sizeof(*samples), compare);
	min = (double)samples[0] / ops;
	p50 = (double)samples[nr_samples / 2] / ops;
	p99 = (double)samples[nr_samples * 99 / 100] / ops;
	max = (double)samples[nr_samples - 1] / ops;
	if (machine_readable) {
		printf("{\"row\": \"%s\", \"n\": %d, \"samples\": %d, ", row, irqfds,
		       nr_samples);
		printf("\"min\": %.0f, \"p50\": %.0f, \"p99\": %.0f, \"max\": %.0f}\n",
		       min, p50, p99, max);
	} else {
		printf("%-26s %6d %8d %12.2f %12.2f %12.2f %12.2f\n", row, irqfds,
		       nr_samples, min / 1000, p50 / 1000, p99 / 1000, max / 1000);
	}
	fflush(stdout);
	nr_samples = 0;
}

static void thread_create(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	int r = pthread_create(thread, NULL, fn, arg);

	TEST_ASSERT(!r, "pthread_create() failed: %d", r);
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	TEST_ASSERT(fd >= 0, __KVM_SYSCALL_ERROR("eventfd()", fd));
	return fd;
}

static void open_fds(int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		fds[i] = new_eventfd();
}

static void close_fds(int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		close(fds[i]);
}

static void irqfd(struct kvm_vm *vm, int fd, u32 gsi, u32 flags, int resamplefd)
{
	struct kvm_irqfd irqfd = {
		.fd = fd,
		.gsi = gsi,
		.flags = flags,
		.resamplefd = resamplefd,
	};

	vm_ioctl(vm, KVM_IRQFD, &irqfd);
}

static void assign(struct kvm_vm *vm, int fd)
{
	irqfd(vm, fd, GSI_MSI, 0, 0);
}

static void deassign(struct kvm_vm *vm, int fd)
{
	irqfd(vm, fd, GSI_MSI, KVM_IRQFD_FLAG_DEASSIGN, 0);
}

static void assign_all(struct kvm_vm *vm, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		assign(vm, fds[i]);
}

static void set_routes(struct kvm_vm *vm, u32 vector)
{
	struct kvm_irq_routing *routing = kvm_gsi_routing_create();

	routing->entries[0].gsi = GSI_IOAPIC;
	routing->entries[0].type = KVM_IRQ_ROUTING_IRQCHIP;
	routing->entries[0].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
	routing->entries[0].u.irqchip.pin = GSI_IOAPIC;
	routing->entries[1].gsi = GSI_MSI;
	routing->entries[1].type = KVM_IRQ_ROUTING_MSI;
	routing->entries[1].u.msi.address_lo = APIC_DEFAULT_GPA;
	routing->entries[1].u.msi.data = vector;
	routing->nr = 2;
	kvm_gsi_routing_write(vm, routing);
}

/* A VM with interrupt controllers, and no memory. */
static struct kvm_vm *create_vm(void)
{
	struct kvm_vm *vm = vm_create_barebones();

	vm_create_irqchip(vm);
	set_routes(vm, VECTOR);
	return vm;
}

/* Have a vCPU that never runs, but takes interrupts. */
static void add_vcpu(struct kvm_vm *vm)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_lapic_state lapic;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	*(u32 *)&lapic.regs[APIC_SPIV] = 0xff | APIC_SPIV_APIC_ENABLED;
	vcpu_ioctl(vcpu, KVM_SET_LAPIC, &lapic);
}

/*
 * Close the VM's file, which ends its irqfds.  If the library has a stats fd, the VM
 * itself stays until kvm_vm_free().
 */
static void release_vm(struct kvm_vm *vm)
{
	static int null = -1;

	if (null < 0)
		null = open("/dev/null", O_RDWR);
	TEST_ASSERT(dup2(null, vm->fd) == vm->fd, "dup2() failed, errno: %d", errno);
}

static void measure_vm(int nr)
{
	struct kvm_vm *vm;
	u64 begin;
	int i;

	open_fds(nr);
	for (i = 0; i <= rounds; i++) {
		vm = create_vm();
		assign_all(vm, nr);
		begin = now();
		release_vm(vm);
		if (i)	/* The first one warms up. */
			add_sample(begin);
		kvm_vm_free(vm);
	}
	report("release VM", nr, 1);
	close_fds(nr);
}

static void measure_close(int nr)
{
	struct kvm_vm *vm;
	u64 begin;
	int i;

	for (i = 0; i <= rounds; i++) {
		vm = create_vm();
		open_fds(nr);
		assign_all(vm, nr);
		begin = now();
		close_fds(nr);
		release_vm(vm);
		if (i)
			add_sample(begin);
		kvm_vm_free(vm);
	}
	report("close eventfds, release VM", nr, 1);
}

static void measure_assign(int nr, int times)
{
	struct kvm_vm *vm;
	u64 begin;
	int i;

	open_fds(nr);
	for (i = 0; i <= times; i++) {
		vm = create_vm();
		begin = now();
		assign_all(vm, nr);
		if (i)
			add_sample(begin);
		kvm_vm_free(vm);
	}
	report("assign", nr, nr);
	close_fds(nr);
}

static void measure_deassign(void)
{
	struct kvm_vm *vm = create_vm();
	int fd = new_eventfd(), i;
	u64 begin;

	for (i = 0; i < rounds * 200; i++) {
		assign(vm, fd);
		begin = now();
		deassign(vm, fd);
		add_sample(begin);
	}
	report("deassign", 1, 1);
	close(fd);
	kvm_vm_free(vm);
}

/* One irqfd that comes and goes, next to many that stay. */
static void measure_one_more(int nr, bool end)
{
	struct kvm_vm *vm = create_vm();
	int fd, i;
	u64 begin;

	open_fds(nr);
	assign_all(vm, nr);
	fd = new_eventfd();
	for (i = 0; i < rounds * 50; i++) {
		begin = now();
		assign(vm, fd);
		if (!end)
			add_sample(begin);
		begin = now();
		deassign(vm, fd);
		if (end)
			add_sample(begin);
	}
	report(end ? "deassign one of many" : "assign one more", nr, 1);
	close(fd);
	close_fds(nr);
	kvm_vm_free(vm);
}

/* A VM that ends again and again, and says when it does. */
static struct {
	pthread_t thread;
	int nr;
	bool stop;
	bool ending;
	int times;
} neighbour;

static void *neighbour_thread(void *arg)
{
	struct kvm_vm *vm;

	while (!READ_ONCE(neighbour.stop)) {
		vm = create_vm();
		assign_all(vm, neighbour.nr);
		WRITE_ONCE(neighbour.ending, true);
		release_vm(vm);
		WRITE_ONCE(neighbour.ending, false);
		kvm_vm_free(vm);
		neighbour.times++;
	}
	return NULL;
}

/* The longest deassign while a neighbour ends. */
static void measure_deassign_busy(int nr)
{
	struct kvm_vm *vm = create_vm();
	int fd = new_eventfd(), times, seen = 0;
	u64 begin, ns, longest = 0;
	bool ending;

	open_fds(nr);
	neighbour.nr = nr;
	thread_create(&neighbour.thread, neighbour_thread, NULL);
	while (nr_samples < rounds * 5) {
		assign(vm, fd);
		ending = READ_ONCE(neighbour.ending);
		begin = now();
		deassign(vm, fd);
		ns = now() - begin;
		if (ending && ns > longest)
			longest = ns;

		/* One sample per neighbour, so that a long wait counts in full. */
		times = READ_ONCE(neighbour.times);
		if (times != seen && longest) {
			samples[nr_samples++] = longest;
			longest = 0;
		}
		seen = times;
	}
	WRITE_ONCE(neighbour.stop, true);
	pthread_join(neighbour.thread, NULL);
	report("deassign, neighbour ends", nr, 1);
	close(fd);
	close_fds(nr);
	kvm_vm_free(vm);
}

static void measure_resample(bool end)
{
	struct kvm_vm *vm = create_vm();
	int fd = new_eventfd(), resamplefd = new_eventfd(), i;
	u64 begin;

	for (i = 0; i < rounds * 50; i++) {
		begin = now();
		irqfd(vm, fd, GSI_IOAPIC, KVM_IRQFD_FLAG_RESAMPLE, resamplefd);
		if (!end)
			add_sample(begin);
		begin = now();
		irqfd(vm, fd, GSI_IOAPIC, KVM_IRQFD_FLAG_DEASSIGN, 0);
		if (end)
			add_sample(begin);
	}
	report(end ? "deassign, resample" : "assign, resample", 1, 1);
	close(fd);
	close(resamplefd);
	kvm_vm_free(vm);
}

/* The pin of GSI_IOAPIC is masked.  Most signals find its work item queued already. */
static void measure_signal(const char *row, u32 gsi)
{
	struct kvm_vm *vm = create_vm();
	int fd = new_eventfd(), i;
	u64 begin;

	add_vcpu(vm);
	irqfd(vm, fd, gsi, 0, 0);
	for (i = 0; i < rounds * 1000; i++) {
		begin = now();
		eventfd_write(fd, 1);
		add_sample(begin);
	}
	report(row, 1, 1);
	close(fd);
	kvm_vm_free(vm);
}

static bool routing_stop;

static void *routing_thread(void *vm)
{
	u32 i;

	for (i = 0; !READ_ONCE(routing_stop); i++)
		set_routes(vm, VECTOR + (i & 1));
	return NULL;
}

static void measure_signal_routing(int nr)
{
	struct kvm_vm *vm = create_vm();
	pthread_t thread;
	u64 begin;
	int i;

	add_vcpu(vm);
	open_fds(nr);
	assign_all(vm, nr);
	thread_create(&thread, routing_thread, vm);
	for (i = 0; i < rounds * 1000; i++) {
		begin = now();
		eventfd_write(fds[nr - 1], 1);
		add_sample(begin);
	}
	WRITE_ONCE(routing_stop, true);
	pthread_join(thread, NULL);
	report("signal, routing changes", nr, 1);
	close_fds(nr);
	kvm_vm_free(vm);
}

static void help(const char *name)
{
	printf("usage: %s [-1] [-h] [-m] [-n irqfds] [-r rounds]\n\n"
	       " -1: only what needs a single thread\n"
	       " -m: one JSON object a line, with nanoseconds, instead of a table with microseconds\n"
	       " -n: the most irqfds that a VM gets (%d)\n"
	       " -r: how often to measure what has many irqfds; the rest follows from it (%d)\n",
	       name, max_irqfds, rounds);
}

int main(int argc, char *argv[])
{
	static const int sizes[] = { 0, 1, 16, 256, 1024 };
	struct rlimit limit;
	int opt, i;

	while ((opt = getopt(argc, argv, "1hmn:r:")) != -1) {
		switch (opt) {
		case '1':
			one_thread = true;
			break;
		case 'm':
			machine_readable = true;
			break;
		case 'n':
			max_irqfds = atoi_positive("Number of irqfds", optarg);
			break;
		case 'r':
			rounds = atoi_positive("Rounds", optarg);
			TEST_ASSERT(rounds <= MAX_ROUNDS, "At most %d rounds", MAX_ROUNDS);
			break;
		default:
			help(argv[0]);
			return opt == 'h' ? 0 : 1;
		}
	}

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQCHIP));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IRQFD_RESAMPLE));

	TEST_ASSERT(!getrlimit(RLIMIT_NOFILE, &limit), "getrlimit(), errno: %d", errno);
	limit.rlim_cur = max(limit.rlim_cur, (rlim_t)max_irqfds + 1024);
	limit.rlim_max = max(limit.rlim_max, limit.rlim_cur);
	if (setrlimit(RLIMIT_NOFILE, &limit))
		ksft_exit_skip("%d irqfds need RLIMIT_NOFILE of %lu, errno: %d\n",
			       max_irqfds, (unsigned long)limit.rlim_cur, errno);
	fds = calloc(max_irqfds, sizeof(*fds));
	TEST_ASSERT(fds, "Out of memory");

	if (!machine_readable)
		printf("%-26s %6s %8s %12s %12s %12s %12s\n", "microseconds", "irqfds",
		       "samples", "min", "p50", "p99", "max");

	for (i = 0; i < ARRAY_SIZE(sizes) && sizes[i] < max_irqfds; i++)
		measure_vm(sizes[i]);
	measure_vm(max_irqfds);
	measure_close(max_irqfds);
	if (max_irqfds > 16)
		measure_assign(16, rounds * 20);
	measure_assign(max_irqfds, rounds);
	measure_one_more(max_irqfds, false);
	measure_deassign();
	measure_one_more(max_irqfds, true);
	if (!one_thread)
		measure_deassign_busy(max_irqfds / 2);
	measure_resample(false);
	measure_resample(true);
	measure_signal("signal, MSI", GSI_MSI);
	measure_signal("signal, queue work item", GSI_IOAPIC);
	if (!one_thread)
		measure_signal_routing(max_irqfds);

	return 0;
}
