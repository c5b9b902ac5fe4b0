// SPDX-License-Identifier: GPL-2.0
/*
 * The end of many resample irqfds keeps no worker of the kernel per irqfd: count the workers
 * that wait while all of a VM's eventfds are closed at once, and while the VM is released.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define IRQFDS	500
#define ROUNDS	4
/* GSIs of the PICs and the I/O APIC */
#define GSIS	24
/* Some may wait for other things, for a moment */
#define FEW	20

static volatile bool stop;
static volatile int scans;
/* The most at once: of all workers, and of those that wait. */
static int most_workers, most_waiting;

/* A worker that waits sleeps and cannot be interrupted. */
static void count_workers(void)
{
	DIR *dir = opendir("/proc");
	int workers = 0, waiting = 0;
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		char path[300], name[64], state;
		FILE *f;

		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fscanf(f, "%*d (%63[^)]) %c", name, &state) == 2 &&
		    !strncmp(name, "kworker", 7)) {
			workers++;
			waiting += state == 'D';
		}
		fclose(f);
	}
	closedir(dir);
	if (workers > most_workers)
		most_workers = workers;
	if (waiting > most_waiting)
		most_waiting = waiting;
}

static void *watch(void *arg)
{
	/* A scan is no snapshot, and a short teardown may fall between two */
	do {
		count_workers();
		scans++;
	} while (!stop);
	return NULL;
}

FIXTURE(workers)
{
	int kvm;
};

FIXTURE_SETUP(workers)
{
	struct rlimit files = { 2 * IRQFDS + 100, 2 * IRQFDS + 100 };

	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
	self->kvm = open("/dev/kvm", O_RDWR);
	ASSERT_GE(self->kvm, 0);
}

FIXTURE_TEARDOWN(workers)
{
	close(self->kvm);
}

static void end_many(struct __test_metadata *_metadata, int kvm, bool close_eventfds)
{
	static struct kvm_irqfd irqfds[IRQFDS];
	pthread_t thread;
	int vm, i;

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	ASSERT_GE(vm, 0);
	ASSERT_EQ(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	for (i = 0; i < IRQFDS; i++) {
		irqfds[i].fd = eventfd(0, EFD_NONBLOCK);
		irqfds[i].resamplefd = eventfd(0, EFD_NONBLOCK);
		irqfds[i].gsi = i % GSIS;
		irqfds[i].flags = KVM_IRQFD_FLAG_RESAMPLE;
		ASSERT_EQ(ioctl(vm, KVM_IRQFD, &irqfds[i]), 0);
	}

	stop = false;
	scans = 0;
	ASSERT_EQ(pthread_create(&thread, NULL, watch, NULL), 0);
	while (!scans)
		usleep(1000);
	if (close_eventfds)
		for (i = 0; i < IRQFDS; i++)
			close(irqfds[i].fd);
	close(vm);
	stop = true;
	pthread_join(thread, NULL);

	for (i = 0; i < IRQFDS; i++) {
		if (!close_eventfds)
			close(irqfds[i].fd);
		close(irqfds[i].resamplefd);
	}
}

static void end_many_again(struct __test_metadata *_metadata, int kvm, bool close_eventfds)
{
	int i;

	most_workers = 0;
	most_waiting = 0;
	for (i = 0; i < ROUNDS; i++)
		end_many(_metadata, kvm, close_eventfds);
	TH_LOG("%d irqfds end, %d times: at most %d of %d workers wait", IRQFDS, ROUNDS,
	       most_waiting, most_workers);
	/* There are always some, so /proc could be read */
	EXPECT_GT(most_workers, 0);
	EXPECT_LT(most_waiting, FEW);
}

TEST_F(workers, eventfds_close)
{
	end_many_again(_metadata, self->kvm, true);
}

TEST_F(workers, vm_ends)
{
	end_many_again(_metadata, self->kvm, false);
}

TEST_HARNESS_MAIN
