// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what multicast routing costs: questions over netlink, alone and
 * while links are deleted, which holds RTNL; packets that are forwarded, with
 * one table and with several, and packets that are dropped for want of a route;
 * changes of routes; and namespaces that die, which hold RTNL, too.
 *
 * The figures are for comparison with another kernel on the same machine. The
 * test fails only if something does not work.
 */
#include "mroute_lib.h"

#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <linux/fib_rules.h>

#include "../kselftest.h"
#include "mroute_query.h"

#define MAX_SAMPLES	200000
#define LINKS		200
#define GROUP		42
#define BURST		64
#define TABLES		16
#define FIRST_TABLE	100
#define UNKNOWN		63000	/* more than -n allows */
#define PORT		5000
#define PAYLOAD		64
#define PATIENCE_NS	60000000000ull

struct plan {
	const struct mr_family	*f;
	const char		*name;
	const char		*router;
	const char		*source;
	int			prefix;
	const char		*group;		/* printf format, with two numbers */
};

static const struct plan plans[] = {
	{ &mr_ipv4, "IPv4", "10.1.0.1", "10.1.0.2", 24, "239.1.%d.%d" },
	{ &mr_ipv6, "IPv6", "fd00:1::1", "fd00:1::2", 64, "ff15::%x:%x" },
};

static const __u8 router_mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };

static bool machine_readable, one_thread;
static int max_routes = 200, max_namespaces = 10, rounds = 3;

static __u64 samples[MAX_SAMPLES];
static int nr_samples;

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(KSFT_FAIL);
}

/* For functions of mroute_lib.h */
static int must(int ret, const char *what)
{
	if (ret < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-ret));
		exit(KSFT_FAIL);
	}
	return ret;
}

#define MUST(call) must(call, #call)

static __u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void add_sample(__u64 begin)
{
	__u64 ns = now() - begin;

	if (nr_samples < MAX_SAMPLES)
		samples[nr_samples++] = ns;
}

static int compare(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Prints the samples of a row as time per operation, of which a sample has @ops.
 */
static void report(const struct plan *p, const char *what, int n, int ops)
{
	double min, p50, p99, max;
	char row[64];

	if (!nr_samples)
		die("nothing was measured");
	snprintf(row, sizeof(row), "%s %s", p->name, what);
	qsort(samples, nr_samples, sizeof(*samples), compare);
	min = (double)samples[0] / ops;
	p50 = (double)samples[nr_samples / 2] / ops;
	p99 = (double)samples[nr_samples * 99ull / 100] / ops;
	max = (double)samples[nr_samples - 1] / ops;
	if (machine_readable) {
		printf("{\"row\": \"%s\", \"n\": %d, \"samples\": %d, ", row, n,
		       nr_samples);
		printf("\"min\": %.0f, \"p50\": %.0f, \"p99\": %.0f, \"max\": %.0f}\n",
		       min, p50, p99, max);
	} else {
		printf("%-36s %6d %8d %12.2f %12.2f %12.2f %12.2f\n", row, n,
		       nr_samples, min / 1000, p50 / 1000, p99 / 1000,
		       max / 1000);
	}
	fflush(stdout);
	nr_samples = 0;
}

/* A namespace with a router between a veth pair and a dummy */
struct router {
	const struct plan	*p;
	char			port[IFNAMSIZ];	/* the parent's end of the pair */
	int			ns;
	int			nl;
	int			query;
	int			sk;
	int			routes;
};

static void router_close(struct router *r)
{
	close(r->sk);
	close(r->query);
	close(r->nl);
	close(r->ns);
}

/* Makes the socket the router of the last of @tables tables, to which a rule
 * directs all packets.
 */
static int use_tables(struct router *r, int tables)
{
	struct fib_rule_hdr frh = {
		.family = r->p->f->rtnl_family,
		.action = FR_ACT_TO_TBL,
	};
	const struct mr_family *f = r->p->f;
	int i, err, id = FIRST_TABLE;
	struct mr_nlreq req;

	for (i = 0; i < tables; i++) {
		r->sk = MUST(mr_sock(r->ns, f));
		/* The default table is one of them. */
		id = i ? FIRST_TABLE + i : (int)f->default_table;
		err = mr_setopt(r->sk, f, MRT_TABLE, id);
		if (err == -ENOPROTOOPT)
			return err;
		must(err, "MRT_TABLE");
		if (i < tables - 1)
			close(r->sk);
	}
	mr_nl_begin(&req, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &frh,
		    sizeof(frh));
	mr_nl_put_u32(&req, FRA_PRIORITY, 1);
	mr_nl_put_u32(&req, FRA_TABLE, id);
	MUST(mr_nl_talk(r->nl, &req));
	return mr_setopt(r->sk, f, MRT_INIT, 1);
}

/* With @tables, returns false if the kernel has one only. */
static bool router_open(struct router *r, const struct plan *p, int tables)
{
	static int last;
	int nl, err;

	snprintf(r->port, sizeof(r->port), "p%d", last++);
	nl = MUST(mr_nl_open(-1));
	r->p = p;
	r->routes = 0;
	r->ns = MUST(mr_ns_new());
	r->nl = MUST(mr_nl_open(r->ns));
	r->query = MUST(mr_nl_open(r->ns));
	if (tables) {
		err = use_tables(r, tables);
		if (err == -ENOPROTOOPT) {
			router_close(r);
			close(nl);
			return false;
		}
		must(err, "MRT_INIT");
	} else {
		r->sk = mr_router(r->ns, p->f);
		if (r->sk == -ENOPROTOOPT || r->sk == -EAFNOSUPPORT) {
			printf("SKIP: needs CONFIG_IP_MROUTE and CONFIG_IPV6_MROUTE\n");
			exit(KSFT_SKIP);
		}
		MUST(r->sk);
	}
	MUST(mr_link_add_veth(nl, r->port, r->ns, "veth", router_mac));
	MUST(mr_link_up(r->nl, "veth"));
	MUST(mr_link_up(nl, r->port));
	MUST(mr_addr_add(r->nl, p->f, "veth", p->router, p->prefix));
	MUST(mr_link_add(r->nl, "dummy", "dummy", NULL));
	MUST(mr_link_up(r->nl, "dummy"));
	MUST(mr_vif_add(r->sk, p->f, 0, mr_link_index(r->nl, "veth")));
	MUST(mr_vif_add(r->sk, p->f, 1, mr_link_index(r->nl, "dummy")));
	close(nl);
	return true;
}

static const char *group_of(const struct plan *p, int i)
{
	static __thread char text[INET6_ADDRSTRLEN];

	snprintf(text, sizeof(text), p->group, i / 250, i % 250 + 1);
	return text;
}

static void add_route(struct router *r, int i)
{
	MUST(mr_mfc(r->sk, r->p->f, MRT_ADD_MFC, r->p->source,
		    group_of(r->p, i), 0, 1 << 1));
}

static void del_route(struct router *r, int i)
{
	MUST(mr_mfc(r->sk, r->p->f, MRT_DEL_MFC, r->p->source,
		    group_of(r->p, i), 0, 0));
}

static void fill(struct router *r, int routes)
{
	for (; r->routes < routes; r->routes++)
		add_route(r, r->routes);
}

enum asked { GET_ROUTE, DUMP_ROUTES, DUMP_VIFS };

static void ask(struct router *r, enum asked what, int i)
{
	struct ifinfomsg ifi = { .ifi_family = r->p->f->rtnl_family };
	struct rtmsg rtm = { .rtm_family = r->p->f->rtnl_family };
	const struct mr_family *f = r->p->f;
	struct mr_nlreq req;
	__u8 bin[16];
	int n;

	switch (what) {
	case GET_ROUTE:
		rtm.rtm_src_len = f->addr_len * 8;
		rtm.rtm_dst_len = f->addr_len * 8;
		mr_nl_begin(&req, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
		MUST(mr_addr(f, r->p->source, bin));
		mr_nl_put(&req, RTA_SRC, bin, f->addr_len);
		MUST(mr_addr(f, group_of(r->p, i), bin));
		mr_nl_put(&req, RTA_DST, bin, f->addr_len);
		mr_nl_put_u32(&req, RTA_TABLE, f->default_table);
		n = 1;
		break;
	case DUMP_ROUTES:
		mr_nl_begin(&req, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
		n = r->routes;
		break;
	default:
		mr_nl_begin(&req, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi));
		n = 1;
	}
	if (MUST(mr_nl_query(r->query, &req, NULL, NULL)) != n)
		die("an answer of another length");
}

/* Links of another namespace that are deleted as a group: RTNL is held once,
 * for all of them.
 */
struct deleter {
	pthread_t	thread;
	int		nl;
	bool		done;
};

static void group_link(int nl, int i)
{
	struct nlattr *info;
	struct mr_nlreq req;
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "g%d", i);
	mr_link_begin(&req, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, 0);
	mr_nl_put_u32(&req, IFLA_GROUP, GROUP);
	info = mr_nl_nest(&req, IFLA_LINKINFO);
	mr_nl_put_str(&req, IFLA_INFO_KIND, "dummy");
	mr_nl_nest_end(&req, info);
	MUST(mr_nl_talk(nl, &req));
}

static void *delete_group(void *arg)
{
	struct ifinfomsg ifi = {};
	struct deleter *d = arg;
	struct mr_nlreq req;

	mr_nl_begin(&req, RTM_DELLINK, 0, &ifi, sizeof(ifi));
	mr_nl_put_u32(&req, IFLA_GROUP, GROUP);
	MUST(mr_nl_talk(d->nl, &req));
	__atomic_store_n(&d->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void questions(struct router *r)
{
	static const struct { const char *idle, *busy; int many; } rows[] = {
		[GET_ROUTE]	= { "get route", "get route, links deleted", 200 },
		[DUMP_ROUTES]	= { "dump routes", "dump routes, links deleted", 1 },
		[DUMP_VIFS]	= { "dump VIFs", "dump VIFs, links deleted", 200 },
	};
	int last = r->p->f->family == AF_INET ? DUMP_VIFS : DUMP_ROUTES;
	struct deleter d = {};
	enum asked q;
	int i, k, ns;
	__u64 begin;

	ns = MUST(mr_ns_new());
	d.nl = MUST(mr_nl_open(ns));
	for (q = GET_ROUTE; q <= last; q++) {
		for (i = 0; i < rounds * rows[q].many; i++) {
			begin = now();
			ask(r, q, i % r->routes);
			add_sample(begin);
		}
		report(r->p, rows[q].idle, r->routes, 1);
		if (one_thread)
			continue;
		for (k = 0; k < rounds; k++) {
			for (i = 0; i < LINKS; i++)
				group_link(d.nl, i);
			d.done = false;
			if (pthread_create(&d.thread, NULL, delete_group, &d))
				die("pthread_create()");
			i = 0;
			do {
				begin = now();
				ask(r, q, i++ % r->routes);
				add_sample(begin);
			} while (!__atomic_load_n(&d.done, __ATOMIC_ACQUIRE));
			pthread_join(d.thread, NULL);
		}
		report(r->p, rows[q].busy, r->routes, 1);
	}
	close(d.nl);
	close(ns);
}

/* Packets to @group that arrive through the veth pair, sent from one CPU. The
 * last of each burst has a route, whose counter tells when it has passed.
 */
static void packets(struct router *r, const char *what, int n, int group)
{
	int nl = MUST(mr_nl_open(-1));
	int index = MUST(mr_link_index(nl, r->port));
	int sk = MUST(mr_packet_socket(-1, SOCK_RAW));
	const struct plan *p = r->p;
	struct mr_frame frame, last;
	struct mr_count count;
	unsigned long before;
	__u64 begin;
	int i, k;

	MUST(mr_frame_udp(&frame, p->f, p->source, group_of(p, group), 64, PORT,
			  PAYLOAD));
	MUST(mr_frame_udp(&last, p->f, p->source, group_of(p, 0), 64, PORT,
			  PAYLOAD));
	add_route(r, 0);
	for (k = 0; k < rounds * 20; k++) {
		MUST(mr_mfc_count(r->sk, p->f, p->source, group_of(p, 0),
				  &count));
		before = count.packets;
		begin = now();
		for (i = 1; i < BURST; i++)
			MUST(mr_packet_send(sk, SOCK_RAW, index, &frame));
		MUST(mr_packet_send(sk, SOCK_RAW, index, &last));
		do {
			MUST(mr_mfc_count(r->sk, p->f, p->source,
					  group_of(p, 0), &count));
			if (now() - begin > PATIENCE_NS)
				die("a packet was lost");
		} while (count.packets - before < (group ? 1 : BURST));
		add_sample(begin);
	}
	report(p, what, n, BURST);
	if (group) {
		/* No unresolved entry stays, which dumps would show. */
		add_route(r, group);
		del_route(r, group);
	}
	close(sk);
	close(nl);
}

static void many_tables(const struct plan *p)
{
	struct router r;

	if (!router_open(&r, p, TABLES))
		return;
	packets(&r, "forward packet, tables", TABLES, 0);
	router_close(&r);
}

static void changes(const struct plan *p, int routes)
{
	struct router r;
	__u64 begin;
	int i;

	router_open(&r, p, 0);
	for (i = 0; i < routes; i++) {
		begin = now();
		add_route(&r, i);
		add_sample(begin);
	}
	report(p, "add route", routes, 1);
	for (i = 0; i < routes; i++) {
		begin = now();
		del_route(&r, i);
		add_sample(begin);
	}
	report(p, "delete route", routes, 1);
	router_close(&r);
}

/* The parent's end of a veth pair goes away with its namespace. With @rtnl,
 * measures how long somebody else who needs RTNL has to wait meanwhile.
 */
static void dismantle(const struct plan *p, int n, bool rtnl)
{
	struct router *r = calloc(n, sizeof(*r));
	int nl = MUST(mr_nl_open(-1));
	__u64 begin, asked;
	/* A router has a few descriptors */
	struct rlimit files = { 8 * n + 1000, 8 * n + 1000 };
	int i, k;

	if (!r)
		die("calloc()");
	MUST(setrlimit(RLIMIT_NOFILE, &files));
	for (k = 0; k < rounds; k++) {
		for (i = 0; i < n; i++) {
			router_open(&r[i], p, 0);
			fill(&r[i], 10);
		}
		begin = now();
		for (i = 0; i < n; i++)
			router_close(&r[i]);
		for (i = 0; i < n; i++) {
			while (mr_link_index(nl, r[i].port) > 0) {
				asked = now();
				if (asked - begin > PATIENCE_NS)
					die("a namespace does not go away");
				if (!rtnl) {
					usleep(100);
					continue;
				}
				MUST(mr_link_up(nl, "lo"));
				add_sample(asked);
			}
		}
		if (!rtnl)
			add_sample(begin);
	}
	report(p, rtnl ? "change link, namespaces die" : "dismantle", n,
	       rtnl ? 1 : n);
	close(nl);
	free(r);
}

static void help(FILE *file)
{
	fprintf(file,
		"usage: mroute_perf [-1] [-h] [-m] [-n ROUTES] [-N NAMESPACES] [-r ROUNDS]\n"
		"Measures what multicast routing costs, in microseconds.\n"
		" -1  only what one thread does\n"
		" -m  one line of JSON for each row, in nanoseconds\n"
		" -n  the most routes in a table (%d)\n"
		" -N  the most namespaces that die at once (%d)\n"
		" -r  how often to repeat each row (%d)\n",
		max_routes, max_namespaces, rounds);
}

static int parse(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || n < 1 || n > 60000)
		die("not a number from 1 to 60000");
	return n;
}

int main(int argc, char *argv[])
{
	static const int sizes[] = { 200, 20000 };
	struct router r;
	size_t i, k;
	int opt;

	while ((opt = getopt(argc, argv, "1hmn:N:r:")) != -1) {
		switch (opt) {
		case '1':
			one_thread = true;
			break;
		case 'h':
			help(stdout);
			return 0;
		case 'm':
			machine_readable = true;
			break;
		case 'n':
			max_routes = parse(optarg);
			break;
		case 'N':
			max_namespaces = parse(optarg);
			break;
		case 'r':
			rounds = parse(optarg);
			break;
		default:
			help(stderr);
			return KSFT_FAIL;
		}
	}
	if (geteuid()) {
		printf("SKIP: needs root\n");
		return KSFT_SKIP;
	}
	/* Nothing else has links here. */
	if (unshare(CLONE_NEWNET))
		die("unshare() failed");
	if (!machine_readable)
		printf("%-36s %6s %8s %12s %12s %12s %12s\n", "what, in us", "n",
		       "samples", "min", "p50", "p99", "max");
	for (i = 0; i < ARRAY_SIZE(plans); i++) {
		router_open(&r, &plans[i], 0);
		for (k = 0; k < ARRAY_SIZE(sizes); k++) {
			if (k && sizes[k] > max_routes)
				break;
			fill(&r, sizes[k] < max_routes ? sizes[k] : max_routes);
			questions(&r);
			if (k)
				continue;
			packets(&r, "forward packet", r.routes, 0);
			packets(&r, "drop packet without a route", r.routes,
				UNKNOWN);
		}
		router_close(&r);
		many_tables(&plans[i]);
		changes(&plans[i], max_routes);
		dismantle(&plans[i], 1, false);
		dismantle(&plans[i], max_namespaces, false);
		if (!one_thread)
			dismantle(&plans[i], max_namespaces, true);
	}
	return 0;
}
