// SPDX-License-Identifier: GPL-2.0
/*
 * Makes memory allocations of multicast routing fail, one at a time: in the
 * set-up of a namespace, and in socket options. An operation that fails must
 * undo all it did, which kmemleak checks at the end. An operation that
 * succeeds in spite of the failure must work.
 *
 * /proc/thread-self/fail-nth selects the allocation. Fault injection logs a
 * stack trace, which tells the test whether the failure hit multicast
 * routing's own code. Most allocations in the set-up of a namespace, hundreds
 * of them, are made elsewhere. Only a sample of those fails, unless
 * MROUTE_FAILNTH_ALL=1.
 */
#include <limits.h>
#include <stdlib.h>

#include "kselftest_harness.h"
#include "net/mroute_lib.h"

#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define PRINTK		"/proc/sys/kernel/printk"

/* After every allocation, kmemleak makes one of its own, which leaves no
 * trace. An even stride that starts at an allocation with a trace only hits
 * those. An odd one hits both kinds in turn. Multicast routing's set-up makes
 * more than STRIDE allocations.
 */
#define STRIDE		4
#define STRIDE_BEHIND	24
#define STRIDE_OPTION	5

/* The number of allocations before it varies between namespaces. So try MARGIN
 * more before and after the range where it was seen. Try the whole range
 * again, up to WALKS times, until every allocation that has to fail was seen
 * to fail.
 */
#define MARGIN		12
#define WALKS		8

/* kmemleak does not report objects that are younger than five seconds. */
#define LEAK_AGE	6
#define LEAK_SCANS	5

enum where { BEYOND, OUTSIDE, INSIDE, UNKNOWN };

/* A socket option under test, and how to undo it. */
struct op {
	const char *name;
	int (*run)(int sk, const struct mr_family *f, int id);
	int (*undo)(int sk, const struct mr_family *f);
	int stride;		/* of the allocations that fail */
	bool tolerant;		/* succeeds whatever allocation fails */
};

static int add_mfc(int sk, const struct mr_family *f, int id)
{
	bool v4 = f->family == AF_INET;

	return mr_mfc(sk, f, MRT_ADD_MFC, v4 ? "10.0.0.1" : "fd00::1",
		      v4 ? "239.1.1.1" : "ff15::1", 0, 0);
}

static int del_mfc(int sk, const struct mr_family *f)
{
	bool v4 = f->family == AF_INET;

	return mr_mfc(sk, f, MRT_DEL_MFC, v4 ? "10.0.0.1" : "fd00::1",
		      v4 ? "239.1.1.1" : "ff15::1", 0, 0);
}

static int add_vif(int sk, const struct mr_family *f, int id)
{
	return mr_vif_add(sk, f, 0, 1 /* lo */);
}

static int add_register(int sk, const struct mr_family *f, int id)
{
	return mr_vif_add_register(sk, f, 0);
}

static int del_vif(int sk, const struct mr_family *f)
{
	return mr_vif_del(sk, f, 0);
}

static int add_table(int sk, const struct mr_family *f, int id)
{
	return mr_setopt(sk, f, MRT_TABLE, id);
}

/* Tables stay until the namespace goes away. */
static int keep_table(int sk, const struct mr_family *f)
{
	return 0;
}

static const struct op ops[] = {
	{ "route", add_mfc, del_mfc, 1, false },
	{ "VIF", add_vif, del_vif, 1, true },
	{ "register VIF", add_register, del_vif, STRIDE_OPTION, false },
};

static const struct op table_op = { "table", add_table, keep_table, 1, false };

struct faults {
	int ctl;		/* fail-nth */
	int log;
	int home;		/* the test's own namespace */
	int hits;		/* allocations that failed */
	int refused;		/* operations that failed as a result */
	int inside;		/* hits in multicast routing's own code */
	int table;		/* of these, in mr_table_alloc() */
	int hash;		/* of these, in rhltable_init() */
};

/* The functions that the last failed allocation was in. An allocation with
 * __GFP_NOWARN leaves no trace.
 */
struct trace {
	bool any;
	bool init;
	bool table;
	bool hash;
};

static bool put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return ok;
}

static bool get(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, value, size - 1);
	close(fd);
	value[len > 0 ? len : 0] = '\0';
	return len > 0;
}

FIXTURE(mroute_failnth)
{
	struct faults faults;
	char wait[16];
	char verbose[16];
	char printk[64];
};

FIXTURE_VARIANT(mroute_failnth)
{
	const struct mr_family *f;
	const char *net_init;	/* sets multicast routing up in a namespace */
	const char *setsockopt;
};

FIXTURE_VARIANT_ADD(mroute_failnth, ipv4)
{
	.f		= &mr_ipv4,
	.net_init	= "ipmr_net_init",
	.setsockopt	= "ip_mroute_setsockopt",
};

FIXTURE_VARIANT_ADD(mroute_failnth, ipv6)
{
	.f		= &mr_ipv6,
	.net_init	= "ip6mr_net_init",
	.setsockopt	= "ip6_mroute_setsockopt",
};

FIXTURE_SETUP(mroute_failnth)
{
	if (geteuid())
		SKIP(return, "needs root");
	if (access("/proc/thread-self/fail-nth", W_OK) ||
	    !get(FAILSLAB "ignore-gfp-wait", self->wait, sizeof(self->wait)) ||
	    !get(FAILSLAB "verbose", self->verbose, sizeof(self->verbose)))
		SKIP(return, "needs CONFIG_FAILSLAB and debugfs");
	if (access(KMEMLEAK, W_OK) || !put(KMEMLEAK, "clear"))
		SKIP(return, "needs kmemleak");

	self->faults.ctl = open("/proc/thread-self/fail-nth", O_RDWR);
	ASSERT_GE(self->faults.ctl, 0);
	self->faults.log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_GE(self->faults.log, 0);
	self->faults.home = open("/proc/self/ns/net", O_RDONLY);
	ASSERT_GE(self->faults.home, 0);
	ASSERT_TRUE(get(PRINTK, self->printk, sizeof(self->printk)));

	/* Keep the traces off the console: a serial console takes longer to
	 * print one than the kernel takes to set up a namespace. Warnings have
	 * another level and still go to the console.
	 */
	ASSERT_TRUE(put(PRINTK, "5 7 1 7"));
	ASSERT_TRUE(put(FAILSLAB "ignore-gfp-wait", "N"));
	ASSERT_TRUE(put(FAILSLAB "verbose", "2"));
}

/* In the parent, since the kernel kills a child that makes it oops. */
FIXTURE_TEARDOWN_PARENT(mroute_failnth)
{
	put(FAILSLAB "verbose", self->verbose);
	put(FAILSLAB "ignore-gfp-wait", self->wait);
	put(PRINTK, self->printk);
}

/* Makes this thread's nth allocation from now on fail, or none if n is 0. */
static void arm(struct faults *faults, unsigned int n)
{
	char buf[16];

	lseek(faults->log, 0, SEEK_END);
	if (pwrite(faults->ctl, buf, sprintf(buf, "%u", n), 0) < 0)
		abort();
}

/* Returns whether the allocation failed. */
static bool disarm(struct faults *faults)
{
	char buf[16] = "";

	if (pread(faults->ctl, buf, sizeof(buf) - 1, 0) <= 0 ||
	    pwrite(faults->ctl, "0", 1, 0) < 0)
		abort();
	return !atoi(buf);
}

/* Whether a line of the trace names the function, not just as a guess ("?"). */
static bool names(const char *line, const char *func)
{
	size_t len = strlen(func);

	while (*line == ' ')
		line++;
	return !strncmp(line, func, len) && line[len] == '+';
}

/* Does not wait, because there may be no trace. */
static struct trace read_trace(struct faults *faults, const char *net_init)
{
	struct trace trace = { false };
	char record[2048], *line;
	ssize_t len;

	for (;;) {
		len = read(faults->log, record, sizeof(record) - 1);
		if (len < 0 && errno == EPIPE)
			continue;	/* records were overwritten, read on */
		if (len <= 0)
			break;
		record[len] = '\0';
		line = strchr(record, ';');
		if (!line++)
			continue;
		trace.any |= !strncmp(line, "FAULT_INJECTION", 15);
		trace.init |= names(line, net_init);
		trace.table |= names(line, "mr_table_alloc");
		trace.hash |= names(line, "rhltable_init_noprof");
	}
	return trace;
}

/* Returns the number of objects that kmemleak reports. Prints them if @name. */
static int leaks(struct __test_metadata *_metadata, bool name)
{
	char line[256];
	FILE *report;
	int n = 0;

	EXPECT_TRUE(put(KMEMLEAK, "scan"));
	report = fopen(KMEMLEAK, "r");
	ASSERT_NE(NULL, report);
	while (fgets(line, sizeof(line), report)) {
		n += !strncmp(line, "unreferenced object", 19);
		if (name)
			ksft_print_msg("%s", line);
	}
	fclose(report);
	return n;
}

/* Waits until everything that was undone is also freed, then lets kmemleak
 * scan for leaks. Namespaces are freed from work items, after grace periods.
 * The first scan finds nothing: it only records the checksums that tell the
 * second which objects did not change. An object that is moving between lists
 * can look like a leak once. A real leak is still there in the next scan.
 */
static void expect_no_leak(struct __test_metadata *_metadata)
{
	int i;

	sleep(LEAK_AGE);
	for (i = 0; i < LEAK_SCANS; i++) {
		if (!leaks(_metadata, false) && i)
			return;
		sleep(1);
	}
	EXPECT_EQ(0, leaks(_metadata, true));
}

/* Opens a socket and makes it the current namespace's multicast router. */
static int router(struct __test_metadata *_metadata, const struct mr_family *f)
{
	int sk = mr_router(-1, f);

	ASSERT_LE(0, sk);
	ASSERT_EQ(0x0305, mr_getopt(sk, f, MRT_VERSION));
	return sk;
}

/* Sets up a namespace while its nth allocation fails. */
static enum where try_netns(struct __test_metadata *_metadata,
			    struct faults *faults,
			    const FIXTURE_VARIANT(mroute_failnth) *variant,
			    unsigned int n)
{
	const struct mr_family *f = variant->f;
	struct trace trace;
	int err;
	bool hit;

	arm(faults, n);
	err = unshare(CLONE_NEWNET) ? errno : 0;
	hit = disarm(faults);

	if (!err) {
		/* They are created last. */
		EXPECT_EQ(0, access(f->proc_vif, R_OK));
		EXPECT_EQ(0, access(f->proc_cache, R_OK));
		close(router(_metadata, f));
		ASSERT_EQ(0, setns(faults->home, CLONE_NEWNET));
	}
	if (!hit) {
		EXPECT_EQ(0, err);
		return BEYOND;
	}

	trace = read_trace(faults, variant->net_init);
	faults->hits++;
	faults->inside += trace.init;
	faults->table += trace.init && trace.table;
	faults->hash += trace.init && trace.table && trace.hash;
	faults->refused += !!err;
	/* Other subsystems may return any error for lack of memory. */
	EXPECT_TRUE(!err || err == ENOMEM || err == ENOBUFS || !trace.init)
		TH_LOG("allocation %u: %s", n, strerror(err));
	if (!trace.any)
		return UNKNOWN;
	return trace.init ? INSIDE : OUTSIDE;
}

/* At least one allocation has failed in the hash table's set-up, one elsewhere
 * in mr_table_alloc(), and one elsewhere in multicast routing's set-up.
 */
static bool each_has_failed(const struct faults *faults)
{
	return faults->hash && faults->table > faults->hash &&
	       faults->inside > faults->table;
}

TEST_F_TIMEOUT(mroute_failnth, netns, 600)
{
	bool all = getenv("MROUTE_FAILNTH_ALL");
	struct faults *faults = &self->faults;
	int n, end, step, offset, walks, first = 0, last = 0;
	enum where where;

	/* Run once without a fault. The first access to each of the test's own
	 * pages allocates as well, and must not happen while a fault is armed.
	 */
	where = try_netns(_metadata, faults, variant, INT_MAX);
	ASSERT_TRUE(where == BEYOND);

	for (offset = 1; !first && offset <= STRIDE; offset++) {
		step = all ? 1 : STRIDE;
		for (n = offset; ; n += where == UNKNOWN ? 1 : step) {
			where = try_netns(_metadata, faults, variant, n);
			if (where == BEYOND)
				break;
			if (where != INSIDE)
				continue;
			if (!first)
				first = n;
			last = n;
			if (!all)
				step = STRIDE_BEHIND;
		}
	}
	end = n;
	ASSERT_NE(0, first);

	for (walks = all ? 1 : 0; walks < WALKS; walks++) {
		if (walks && each_has_failed(faults))
			break;
		n = first > MARGIN ? first - MARGIN : 1;
		for (; n <= last + MARGIN; n++) {
			where = try_netns(_metadata, faults, variant, n);
			if (where == INSIDE && n < first)
				first = n;
			if (where == INSIDE && n > last)
				last = n;
		}
	}

	ksft_print_msg("%d of %d allocations failed, and %d namespaces with them\n",
		       faults->hits, end - 1, faults->refused);
	ksft_print_msg("%d in %s (%d to %d): %d in mr_table_alloc, %d in its rhltable_init\n",
		       faults->inside, variant->net_init, first, last,
		       faults->table, faults->hash);
	EXPECT_GE(faults->hash, 1);
	EXPECT_GT(faults->table, faults->hash);
	EXPECT_GT(faults->inside, faults->table);
	expect_no_leak(_metadata);
}

/* Sets the option while its nth allocation fails, for each n. After a failure,
 * it must work again, which it would not if anything had been left behind.
 */
static void try_op(struct __test_metadata *_metadata, struct faults *faults,
		   const FIXTURE_VARIANT(mroute_failnth) *variant,
		   const struct op *op, int sk)
{
	const struct mr_family *f = variant->f;
	int step = getenv("MROUTE_FAILNTH_ALL") ? 1 : op->stride;
	int n, err, id = 0, walks = 0;
	struct trace trace;
	bool hit;

	ASSERT_EQ(0, op->run(sk, f, INT_MAX / 4));
	ASSERT_EQ(0, op->undo(sk, f));
	faults->hits = 0;
	faults->inside = 0;
	faults->refused = 0;

	do {
		for (n = 1, hit = true; hit; n += step) {
			id++;
			arm(faults, n);
			err = -op->run(sk, f, id);
			hit = disarm(faults);
			trace = read_trace(faults, variant->setsockopt);
			faults->hits += hit;
			faults->inside += hit && trace.init;
			faults->refused += !!err;
			if (err) {
				EXPECT_TRUE(hit &&
					    (err == ENOMEM || err == ENOBUFS))
					TH_LOG("%s, allocation %d: %s",
					       op->name, n, strerror(err));
				ASSERT_EQ(0, op->run(sk, f, id));
			}
			ASSERT_EQ(0, op->undo(sk, f));
		}
	} while (++walks < WALKS &&
		 !(faults->inside && (op->tolerant || faults->refused)));

	ksft_print_msg("%s: %d allocations failed (%d with a trace), %d calls failed\n",
		       op->name, faults->hits, faults->inside,
		       faults->refused);
	EXPECT_GE(faults->inside, 1);
	EXPECT_EQ(op->tolerant, !faults->refused);
}

TEST_F_TIMEOUT(mroute_failnth, options, 300)
{
	size_t i;
	int sk;

	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	sk = router(_metadata, variant->f);
	for (i = 0; i < ARRAY_SIZE(ops); i++)
		try_op(_metadata, &self->faults, variant, &ops[i], sk);
	close(sk);
	ASSERT_EQ(0, setns(self->faults.home, CLONE_NEWNET));
	expect_no_leak(_metadata);
}

TEST_F_TIMEOUT(mroute_failnth, table, 300)
{
	const struct mr_family *f = variant->f;
	int sk;

	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	sk = mr_sock(-1, f);
	ASSERT_LE(0, sk);
	/* The default table exists, so this only tests for MRT_TABLE. */
	if (add_table(sk, f, f->default_table) == -ENOPROTOOPT)
		SKIP(return, "needs several tables");
	try_op(_metadata, &self->faults, variant, &table_op, sk);
	close(sk);
	ASSERT_EQ(0, setns(self->faults.home, CLONE_NEWNET));
	expect_no_leak(_metadata);
}

TEST_HARNESS_MAIN
