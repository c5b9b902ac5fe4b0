// SPDX-License-Identifier: GPL-2.0
/*
 * Tests multicast routing tables that die with their network namespace.
 *
 * Devices of a dying namespace still receive for a while, and the packets look
 * up multicast routing tables. So most of these tests create namespaces with a
 * multicast router, flood them over a veth pair, and drop the last reference.
 * A broken kernel should crash or warn, most reliably with KASAN and
 * PROVE_RCU. The tests themselves check that the flood reached the tables
 * beforehand, and that every namespace goes away.
 *
 * Namespaces are created in the order of their death: several die in one batch
 * of the kernel's.
 *
 * MROUTE_NAMESPACES=N makes every test use N namespaces instead of its
 * default.
 */
#include "mroute_lib.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/fib_rules.h>
#include <linux/filter.h>
#include <linux/if_tun.h>

#include "../kselftest_harness.h"

/* A last resort for the harness: router_wait_gone() gives up earlier. */
#define TIMEOUT		900
#define GONE_SECONDS	60
#define ARRIVE_SECONDS	20

#define BATCH		4
#define TAPS		6
#define BURST		8
#define PAYLOAD		64
#define SLOTS		3
/* Extra tables, and rules whose lookups each walk all of them. */
#define TABLES		100
#define RULES		50
#define FIRST_TABLE	1000

/* VIF numbers. Not every test has all of these VIFs. */
enum { VIF_VETH, VIF_DUMMY, VIF_REGISTER, VIF_TUNNEL, VIF_TAP };

/* The addresses, for each address family. */
struct plan {
	const struct mr_family	*f;
	const char		*router;	/* address of the router */
	const char		*sender;	/* source of the flood */
	int			prefix;		/* of their network */
	const char		*group;
	const char		*unknown;	/* group without a route */
	const char		*inner;		/* source inside REGISTERs */
	const char		*any;
};

static const __u8 router_mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };

/* A namespace with a multicast router. File descriptors are -1 if not open. */
struct router {
	char	port[IFNAMSIZ];		/* the parent's end of its veth pair */
	int	port_index;
	int	ns;
	int	nl;
	int	sk;			/* did MRT_INIT */
	int	adder;			/* adds static VIFs and routes */
	int	taps[TAPS];		/* held in the parent */
};

static long namespaces(long count)
{
	const char *env = getenv("MROUTE_NAMESPACES");

	return env ? strtol(env, NULL, 0) : count;
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* Functions of the kernel tell how it was configured. */
static bool has_function(const char *name)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512], found[256];
	bool has = false;

	while (file && !has && fgets(line, sizeof(line), file))
		has = sscanf(line, "%*s %*s %255s", found) == 1 &&
		      !strcmp(found, name);
	if (file)
		fclose(file);
	return has;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Drops all references to the router's namespace. */
static void router_close(struct router *r)
{
	close_fd(&r->sk);
	close_fd(&r->adder);
	close_fd(&r->nl);
	close_fd(&r->ns);
}

static int router_new(const struct plan *p, int parent_nl, struct router *r)
{
	/* Nobody reads the socket, and the kernel warns if it is full. */
	const int rcvbuf = 64 << 20;
	static int last;
	int err;

	memset(r, -1, sizeof(*r));
	snprintf(r->port, sizeof(r->port), "mr%d",
		 __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED));
	r->ns = mr_ns_new();
	if (r->ns < 0)
		return r->ns;
	r->nl = mr_nl_open(r->ns);
	if (r->nl < 0)
		return r->nl;
	r->sk = mr_router(r->ns, p->f);
	if (r->sk < 0)
		return r->sk;
	r->adder = mr_sock(r->ns, p->f);
	if (r->adder < 0)
		return r->adder;
	err = mr_err(setsockopt(r->sk, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf,
				sizeof(rcvbuf)));
	err = err ?: mr_link_add_veth(parent_nl, r->port, r->ns, "veth",
				      router_mac);
	err = err ?: mr_link_up(r->nl, "lo");
	/* In this order, the parent's end can send right away. */
	err = err ?: mr_link_up(r->nl, "veth");
	err = err ?: mr_link_up(parent_nl, r->port);
	err = err ?: mr_addr_add(r->nl, p->f, "veth", p->router, p->prefix);
	if (err)
		return err;
	r->port_index = mr_link_index(parent_nl, r->port);
	return r->port_index < 0 ? r->port_index : 0;
}

static int router_add_vif(const struct plan *p, struct router *r, int vifi,
			  const char *name)
{
	int index = mr_link_index(r->nl, name);

	return index < 0 ? index : mr_vif_add(r->adder, p->f, vifi, index);
}

/* Adds static VIFs for the veth and a dummy, and a static route from the veth
 * to @oifs.
 */
static int router_add_static(const struct plan *p, struct router *r, __u32 oifs)
{
	int err;

	err = mr_link_add(r->nl, "dummy", "dummy", NULL);
	err = err ?: mr_link_up(r->nl, "dummy");
	err = err ?: router_add_vif(p, r, VIF_VETH, "veth");
	err = err ?: router_add_vif(p, r, VIF_DUMMY, "dummy");
	return err ?: mr_mfc(r->adder, p->f, MRT_ADD_MFC, p->sender, p->group,
			     VIF_VETH, oifs);
}

/* Keeps input looking up multicast routes after the router's socket and VIFs
 * are gone. The namespace's own counter does that, which is a copy of the one
 * that FIXTURE_SETUP() holds above zero. IPv4 also has one for each device,
 * which later kernels let nobody set. There, only the input that is under way
 * when the last VIF goes looks up routes after that.
 */
static int router_keep_forwarding(const struct plan *p, struct router *r)
{
	int err;

	if (p->f->family == AF_INET6)
		return 0;
	err = mr_link_mc_forwarding(r->nl, "veth", 1000);
	return err == -EINVAL ? 0 : err;
}

/* The parent's end of the veth pair goes away with the namespace's devices. */
static int router_wait_gone(int parent_nl, const struct router *r)
{
	time_t end = now() + GONE_SECONDS;
	int index;

	do {
		index = mr_link_index(parent_nl, r->port);
		if (index == -ENODEV)
			return 0;
		usleep(1000);
	} while (index > 0 && now() < end);
	return index < 0 ? index : -ETIMEDOUT;
}

/* A thread in the parent that sends frames to a router, one after the other. */
struct flood {
	pthread_t	thread;
	int		sk;
	int		ifindex;
	bool		stop;
	unsigned long	sent;
	unsigned int	n;
	struct mr_frame	frames[3];
};

static unsigned long flood_sent(struct flood *flood)
{
	return __atomic_load_n(&flood->sent, __ATOMIC_RELAXED);
}

/* Ends by itself when the device goes down. */
static void *flood_run(void *arg)
{
	struct flood *flood = arg;
	unsigned int i = 0;
	int err = 0;

	while (err != -ENETDOWN && err != -ENXIO &&
	       !__atomic_load_n(&flood->stop, __ATOMIC_RELAXED)) {
		err = mr_packet_send(flood->sk, SOCK_RAW, flood->ifindex,
				     &flood->frames[i++ % flood->n]);
		if (!err)
			__atomic_add_fetch(&flood->sent, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static int flood_start(struct flood *flood, int ifindex)
{
	flood->ifindex = ifindex;
	flood->stop = false;
	flood->sent = 0;
	flood->sk = mr_packet_socket(-1, SOCK_RAW);
	if (flood->sk < 0)
		return flood->sk;
	return -pthread_create(&flood->thread, NULL, flood_run, flood);
}

static void flood_stop(struct flood *flood)
{
	__atomic_store_n(&flood->stop, true, __ATOMIC_RELAXED);
	pthread_join(flood->thread, NULL);
	close(flood->sk);
}

static int flood_add_data(struct flood *flood, const struct plan *p,
			  const char *group)
{
	return mr_frame_udp(&flood->frames[flood->n++], p->f, p->sender,
			    group, 64, 5000, PAYLOAD);
}

static int flood_add_register(struct flood *flood, const struct plan *p,
			      int version)
{
	return mr_frame_register(&flood->frames[flood->n++], p->f, version,
				 router_mac, p->sender, p->router, p->inner,
				 p->group);
}

FIXTURE(mroute) {
	int	holder;
	int	nl;
	int	parent;
	int	inherit;
	char	inherited[4];
	bool	forwarding;	/* new namespaces start with mc_forwarding on */
};

FIXTURE_VARIANT(mroute) {
	struct plan plan;
};

FIXTURE_VARIANT_ADD(mroute, ipv4) {
	.plan = {
		.f	= &mr_ipv4,
		.router	= "10.1.0.1",
		.sender	= "10.1.0.2",
		.prefix	= 24,
		.group	= "239.1.0.1",
		.unknown = "239.1.0.2",
		.inner	= "10.2.0.1",
		.any	= "0.0.0.0",
	},
};

FIXTURE_VARIANT_ADD(mroute, ipv6) {
	.plan = {
		.f	= &mr_ipv6,
		.router	= "fd00:1::1",
		.sender	= "fd00:1::2",
		.prefix	= 64,
		.group	= "ff15::1",
		.unknown = "ff15::2",
		.inner	= "fd00:2::1",
		.any	= "::",
	},
};

FIXTURE_SETUP(mroute)
{
	const struct plan *p = &variant->plan;

	self->holder = -1;
	self->parent = -1;
	self->inherit = -1;
	self->nl = -1;
	if (geteuid())
		SKIP(return, "needs root");

	/* With 3, new namespaces copy the "all" configuration of the one that
	 * they are created from, including its mc_forwarding count. Only the
	 * initial namespace has this setting.
	 */
	self->inherit = mr_open(-1, "/proc/sys/net/core/devconf_inherit_init_net",
				O_RDWR);

	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	self->parent = mr_ns_self();
	ASSERT_LE(0, self->parent);
	self->nl = mr_nl_open(-1);
	ASSERT_LE(0, self->nl);
	self->holder = mr_router(-1, p->f);
	if (self->holder == -ENOPROTOOPT || self->holder == -EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_IP_MROUTE or CONFIG_IPV6_MROUTE");
	ASSERT_LE(0, self->holder);
	/* Last, so that the teardown puts it right in any case. */
	self->forwarding = self->inherit >= 0 &&
		read(self->inherit, self->inherited, sizeof(self->inherited)) > 0 &&
		pwrite(self->inherit, "3", 1, 0) == 1;
}

/* Let one more namespace die: cleanup_net() only gets to it after it has
 * finished with all that died before.
 */
FIXTURE_TEARDOWN(mroute)
{
	struct router r;

	EXPECT_EQ(0, router_new(&variant->plan, self->nl, &r));
	router_close(&r);
	EXPECT_EQ(0, router_wait_gone(self->nl, &r));
	if (self->forwarding)
		EXPECT_EQ(1, pwrite(self->inherit, self->inherited, 1, 0));
	close_fd(&self->inherit);
	close_fd(&self->parent);
	close_fd(&self->nl);
	close_fd(&self->holder);
}

static void link_rx_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct nlattr *nla;

	nla = mr_nl_msg_attr(nh, sizeof(struct ifinfomsg), IFLA_STATS64);
	if (nla)
		memcpy(arg, (char *)nla + NLA_HDRLEN +
		       offsetof(struct rtnl_link_stats64, rx_packets),
		       sizeof(__u64));
}

/* pimreg receives the packets from inside the REGISTERs. */
static long arrived_register(const struct plan *p, struct router *r)
{
	struct mr_nlreq req;
	__u64 rx = 0;
	int ret;

	mr_link_begin(&req, RTM_GETLINK, 0, p->f->register_name, 0);
	ret = mr_nl_query(r->nl, &req, link_rx_cb, &rx);
	return ret < 0 ? ret : (long)rx;
}

static long arrived_data(const struct plan *p, struct router *r)
{
	struct mr_count count;
	int err;

	err = mr_mfc_count(r->adder, p->f, p->sender, p->group, &count);
	return err ?: (long)count.packets;
}

static long arrived_both(const struct plan *p, struct router *r)
{
	struct mr_count count;
	long data;
	int err;

	data = arrived_data(p, r);
	if (data <= 0)
		return data;
	err = mr_mfc_count(r->adder, p->f, p->inner, p->group, &count);
	return err ?: (long)count.packets;
}

/* /proc shows unresolved routes as well, but without counts. */
static long arrived_unresolved(const struct plan *p, struct router *r)
{
	struct mr_count count;
	int err;

	err = mr_proc_count(r->ns, p->f, p->sender, p->unknown, &count);
	return err == -ENOENT ? 0 : err ?: 2;
}

/* The register VIF goes away with the router's socket, so the namespace dies
 * without one.
 */
static int prepare_register(const struct plan *p, struct router *r)
{
	int err;

	err = mr_setopt(r->sk, p->f, MRT_PIM, 1);
	return err ?: mr_vif_add_register(r->sk, p->f, VIF_REGISTER);
}

static int prepare_data(const struct plan *p, struct router *r)
{
	int err;

	err = router_add_static(p, r, 1 << VIF_DUMMY);
	return err ?: router_keep_forwarding(p, r);
}

/* All VIFs are static, so their devices die with the table. */
static int prepare_devices(const struct plan *p, struct router *r)
{
	__u32 oifs = 1 << VIF_DUMMY | 1 << VIF_REGISTER | 1 << VIF_TUNNEL;
	int err;

	err = mr_setopt(r->sk, p->f, MRT_PIM, 1);
	err = err ?: mr_vif_add_register(r->adder, p->f, VIF_REGISTER);
	if (!err && p->f->family == AF_INET && mr_link_index(r->nl, "tunl0") > 0)
		err = mr_vif_add_tunnel(r->adder, VIF_TUNNEL, p->router,
					p->sender);
	err = err ?: router_add_static(p, r, oifs);
	err = err ?: mr_mfc(r->adder, p->f, MRT_ADD_MFC, p->inner, p->group,
			    VIF_REGISTER, oifs & ~(1 << VIF_REGISTER));
	return err ?: router_keep_forwarding(p, r);
}

/* Adds rules whose tables do not exist, and many tables that every packet
 * walks to find that out. Packets should spend most of their time in that
 * walk.
 */
static int prepare_tables(const struct plan *p, struct router *r)
{
	struct fib_rule_hdr frh = {
		.family = p->f->rtnl_family,
		.action = FR_ACT_TO_TBL,
	};
	struct mr_nlreq req;
	int err = 0, i, sk;

	for (i = 0; !err && i < TABLES; i++) {
		sk = mr_sock(r->ns, p->f);
		if (sk < 0)
			return sk;
		err = mr_setopt(sk, p->f, MRT_TABLE, FIRST_TABLE + i);
		close(sk);
	}
	for (i = 0; !err && i < RULES; i++) {
		mr_nl_begin(&req, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &frh,
			    sizeof(frh));
		mr_nl_put_u32(&req, FRA_PRIORITY, 1 + i);
		mr_nl_put_u32(&req, FRA_TABLE, FIRST_TABLE + TABLES + i);
		err = mr_nl_talk(r->nl, &req);
	}
	return err ?: prepare_data(p, r);
}

/* Adds a TAP to the router whose filter is as slow as possible, and drops. The
 * filter must take longer than the kernel takes from clearing the VIFs to
 * freeing the table, so every instruction calls a function. The TAP's file
 * belongs to the caller's namespace, so it does not keep the router's alive.
 */
static int slow_tap(const struct plan *p, struct router *r, int nl, int i)
{
	static struct sock_filter code[BPF_MAXINSNS];
	struct sock_fprog prog = { .len = BPF_MAXINSNS, .filter = code };
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int err, k;

	for (k = 0; k < BPF_MAXINSNS - 1; k++)
		code[k] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						       k % 32);
	code[k] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "tap%d", i);
	r->taps[i] = mr_open(-1, "/dev/net/tun", O_RDWR);
	if (r->taps[i] < 0)
		return r->taps[i];
	if (ioctl(r->taps[i], TUNSETIFF, &ifr) ||
	    ioctl(r->taps[i], TUNATTACHFILTER, &prog))
		return -errno;
	err = mr_link_move(nl, ifr.ifr_name, r->ns);
	err = err ?: mr_link_up(r->nl, ifr.ifr_name);
	return err ?: router_add_vif(p, r, VIF_TAP + i, ifr.ifr_name);
}

static int prepare_taps(const struct plan *p, struct router *r)
{
	int nl = mr_nl_open(-1);
	int err = nl < 0 ? nl : 0;
	__u32 oifs = 0;
	int i;

	for (i = 0; !err && i < TAPS; i++) {
		err = slow_tap(p, r, nl, i);
		oifs |= 1 << (VIF_TAP + i);
	}
	close_fd(&nl);
	err = err ?: router_add_static(p, r, oifs);
	return err ?: router_keep_forwarding(p, r);
}

static int wait_arrived(const struct plan *p, struct router *r, long least,
			long (*arrived)(const struct plan *p, struct router *r))
{
	time_t end = now() + ARRIVE_SECONDS;
	long n;

	do {
		n = arrived(p, r);
		if (n >= least)
			return 0;
		usleep(1000);
	} while (n >= 0 && now() < end);
	return n < 0 ? n : -ETIMEDOUT;
}

/* Makes @count namespaces die, @batch at a time, each under @flood. */
static void dismantle(struct __test_metadata *_metadata,
		      FIXTURE_DATA(mroute) * self, const struct plan *p,
		      struct flood *flood, long count, int batch,
		      int (*prepare)(const struct plan *p, struct router *r),
		      long (*arrived)(const struct plan *p, struct router *r))
{
	unsigned long sent[BATCH], alive = 0, dying = 0;
	struct flood floods[BATCH];
	struct router r[BATCH];
	int j, k, n;
	long i;

	for (i = 0; i < count; i += n) {
		n = count - i < batch ? count - i : batch;
		for (j = 0; j < n; j++) {
			ASSERT_EQ(0, router_new(p, self->nl, &r[j]));
			ASSERT_EQ(0, prepare(p, &r[j]));
		}
		for (j = 0; j < n; j++) {
			floods[j] = *flood;
			ASSERT_EQ(0, flood_start(&floods[j], r[j].port_index));
		}
		for (j = 0; j < n; j++) {
			ASSERT_EQ(0, wait_arrived(p, &r[j], 2, arrived)) {
				TH_LOG("%lu packets sent, but they did not arrive",
				       flood_sent(&floods[j]));
			}
		}
		for (j = 0; j < n; j++)
			sent[j] = flood_sent(&floods[j]);
		for (j = 0; j < n; j++)
			router_close(&r[j]);
		for (j = 0; j < n; j++) {
			ASSERT_EQ(0, router_wait_gone(self->nl, &r[j]));
			flood_stop(&floods[j]);
			/* Close these last, to show that they do not hold the
			 * namespace.
			 */
			for (k = 0; k < TAPS; k++)
				close_fd(&r[j].taps[k]);
			alive += sent[j];
			dying += floods[j].sent - sent[j];
		}
	}
	TH_LOG("%ld namespaces: %lu packets sent while alive, %lu while dying",
	       count, alive, dying);
	EXPECT_LT(0UL, dying);
}

static bool has_pim(const struct plan *p, int version)
{
	if (p->f->family == AF_INET6)
		return version == 2 && has_function("pim6_rcv");
	return has_function(version == 1 ? "pim_rcv_v1" : "pim_rcv");
}

TEST_F_TIMEOUT(mroute, pimv1_register, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct flood flood = {};

	if (!has_pim(p, 1))
		SKIP(return, "needs IPv4 and CONFIG_IP_PIMSM_V1");
	ASSERT_EQ(0, flood_add_register(&flood, p, 1));
	dismantle(_metadata, self, p, &flood, namespaces(4), BATCH,
		  prepare_register, arrived_register);
}

TEST_F_TIMEOUT(mroute, pimv2_register, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct flood flood = {};

	if (!has_pim(p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	ASSERT_EQ(0, flood_add_register(&flood, p, 2));
	dismantle(_metadata, self, p, &flood, namespaces(4), BATCH,
		  prepare_register, arrived_register);
}

TEST_F_TIMEOUT(mroute, multicast_data, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct flood flood = {};

	if (!self->forwarding)
		SKIP(return, "not started in the initial network namespace");
	ASSERT_EQ(0, flood_add_data(&flood, p, p->group));
	dismantle(_metadata, self, p, &flood, namespaces(8), BATCH, prepare_data,
		  arrived_data);
}

/* Packets without a route are queued as long as there is a router. */
TEST_F_TIMEOUT(mroute, unresolved, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct flood flood = {};

	if (!self->forwarding)
		SKIP(return, "not started in the initial network namespace");
	ASSERT_EQ(0, flood_add_data(&flood, p, p->unknown));
	dismantle(_metadata, self, p, &flood, namespaces(6), 2, prepare_data,
		  arrived_unresolved);
}

/* Lookups that are walking the tables when one of them is unlinked. */
TEST_F_TIMEOUT(mroute, many_tables, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct flood flood = {};
	int err, sk;

	if (!self->forwarding)
		SKIP(return, "not started in the initial network namespace");
	sk = mr_sock(-1, p->f);
	ASSERT_LE(0, sk);
	err = mr_setopt(sk, p->f, MRT_TABLE, p->f->default_table);
	close(sk);
	if (err == -ENOPROTOOPT)
		SKIP(return, "needs CONFIG_IP_MROUTE_MULTIPLE_TABLES");
	ASSERT_EQ(0, flood_add_data(&flood, p, p->group));
	dismantle(_metadata, self, p, &flood, namespaces(6), 2, prepare_tables,
		  arrived_data);
}

/* A packet that still uses the table when it is freed. Without slow outputs,
 * the window is too small to hit, and without KASAN, nothing tells.
 */
TEST_F_TIMEOUT(mroute, slow_reader, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct flood flood = {};

	if (!self->forwarding)
		SKIP(return, "not started in the initial network namespace");
	if (access("/dev/net/tun", R_OK | W_OK))
		SKIP(return, "needs /dev/net/tun");
	if (!has_function("kasan_report"))
		TH_LOG("without KASAN, only a crash fails this test");
	ASSERT_EQ(0, mr_sysctl(-1, "/proc/sys/net/core/optmem_max", "1048576"));
	ASSERT_EQ(0, flood_add_data(&flood, p, p->group));
	dismantle(_metadata, self, p, &flood, namespaces(8), 1, prepare_taps,
		  arrived_data);
}

TEST_F_TIMEOUT(mroute, register_vif_dies, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct flood flood = {};

	if (!self->forwarding)
		SKIP(return, "not started in the initial network namespace");
	if (!has_pim(p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	if (has_pim(p, 1))
		ASSERT_EQ(0, flood_add_register(&flood, p, 1));
	ASSERT_EQ(0, flood_add_register(&flood, p, 2));
	ASSERT_EQ(0, flood_add_data(&flood, p, p->group));
	dismantle(_metadata, self, p, &flood, namespaces(4), 2, prepare_devices,
		  arrived_both);
}

/* Sends frames through pimreg, and expects a report of the last one only. */
static void send_register(struct __test_metadata *_metadata, int parent_nl,
			  const struct plan *p, const struct mr_frame *frames,
			  int n)
{
	const struct timeval timeout = { .tv_sec = ARRIVE_SECONDS };
	const struct mr_frame *last = frames + n - 1;
	struct mr_upcall up;
	struct router r;
	int index;
	int sk;

	ASSERT_EQ(0, router_new(p, parent_nl, &r));
	ASSERT_EQ(0, prepare_register(p, &r));
	ASSERT_EQ(0, setsockopt(r.sk, SOL_SOCKET, SO_RCVTIMEO, &timeout,
				sizeof(timeout)));
	index = mr_link_index(r.nl, p->f->register_name);
	ASSERT_LT(0, index);
	sk = mr_packet_socket(r.ns, SOCK_DGRAM);
	ASSERT_LE(0, sk);
	while (n--)
		ASSERT_EQ(0, mr_packet_send(sk, SOCK_DGRAM, index, frames++));

	ASSERT_EQ(IGMPMSG_WHOLEPKT, mr_upcall(r.sk, p->f, 0, &up));
	EXPECT_EQ(VIF_REGISTER, up.vif);
	EXPECT_STREQ(p->sender, up.src);
	EXPECT_STREQ(p->group, up.dst);
	ASSERT_EQ(last->len - ETH_HLEN, up.len);
	EXPECT_EQ(0, memcmp(up.data, last->data + ETH_HLEN, up.len));
	EXPECT_EQ(-EAGAIN, mr_upcall(r.sk, p->f, MSG_DONTWAIT, &up));

	close(sk);
	router_close(&r);
	EXPECT_EQ(0, router_wait_gone(parent_nl, &r));
}

/* A packet that is sent through pimreg goes to the daemon. pimreg transmits
 * under rcu_read_lock_bh() only, so PROVE_RCU complains if the lookup does not
 * take rcu_read_lock(). Sent through a UDP socket, the packet would bring a
 * lock of its own.
 */
TEST_F_TIMEOUT(mroute, pimreg_packet, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct mr_frame frame;

	if (!has_pim(p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	if (!has_function("lockdep_rcu_suspicious"))
		TH_LOG("without PROVE_RCU, a lookup without RCU goes unnoticed");
	ASSERT_EQ(0, mr_frame_udp(&frame, p->f, p->sender, p->group, 64, 5000,
				  PAYLOAD));
	send_register(_metadata, self->nl, p, &frame, 1);
}

/* A packet that is too short for an IP header, or none at all, does not go to
 * the daemon: its report would have a header made of what lies behind it in
 * memory.
 */
TEST_F_TIMEOUT(mroute, pimreg_bad_packet, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct mr_frame frames[4];
	int i;

	if (!has_pim(p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, mr_frame_udp(&frames[i], p->f, p->sender, p->group,
					  64, 5000, PAYLOAD));
	frames[0].len = ETH_HLEN + 1;
	frames[1].len = ETH_HLEN + p->f->ip_len - 1;
	((struct ethhdr *)frames[2].data)->h_proto = htons(ETH_P_ARP);
	frames[2].len = ETH_HLEN + 1;
	send_register(_metadata, self->nl, p, frames, 4);
}

/* Readers: they return a description of what went wrong, or NULL. */

static bool is_burst(const struct mr_family *f, const struct mr_count *count)
{
	return count->packets == BURST &&
	       count->bytes == BURST * (f->ip_len + sizeof(struct udphdr) +
					PAYLOAD);
}

static const char *read_socket(const struct plan *p, int sk)
{
	struct mr_count count;
	int ret;

	if (mr_getopt(sk, p->f, MRT_VERSION) != 0x0305)
		return "MRT_VERSION";
	if (mr_getopt(sk, p->f, MRT_ASSERT) != 1)
		return "MRT_ASSERT";
	ret = mr_getopt(sk, p->f, MRT_PIM);
	if (ret != 1 && ret != -ENOPROTOOPT)
		return "MRT_PIM";
	if (mr_vif_count(sk, p->f, VIF_VETH, &count) || !is_burst(p->f, &count))
		return "SIOCGETVIFCNT";
	if (mr_vif_count(sk, p->f, MAXVIFS - 1, &count) != -EINVAL)
		return "SIOCGETVIFCNT for a VIF that does not exist";
	if (mr_mfc_count(sk, p->f, p->sender, p->group, &count) ||
	    !is_burst(p->f, &count))
		return "SIOCGETSGCNT";
	if (mr_mfc_count(sk, p->f, p->inner, p->group, &count) != -EADDRNOTAVAIL)
		return "SIOCGETSGCNT for a route that does not exist";
	return NULL;
}

#ifdef __x86_64__
/* The two requests as a 32-bit program passes them. This program is 64-bit. */
struct compat {
	struct {
		vifi_t		vifi;
		__u32		icount, ocount, ibytes, obytes;
	} vif;
	struct {
		struct in_addr	src, grp;
		__u32		pktcnt, bytecnt, wrong_if;
	} sg;
	struct {
		struct sockaddr_in6 src, grp;
		__u32		pktcnt, bytecnt, wrong_if;
	} sg6;
};

static int compat_syscall(int nr, int a, unsigned int b, void *c)
{
	long ret;

	asm volatile("int $0x80" : "=a" (ret) : "0" (nr), "b" (a), "c" (b),
		     "d" (c) : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

/* Without CONFIG_IA32_EMULATION, the instruction faults. */
static bool has_compat(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(compat_syscall(20 /* getpid */, 0, 0, NULL) != getpid());
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

static const char *read_compat(const struct plan *p, int sk, struct compat *c)
{
	const int ioctl_nr = 54;

	c->vif.vifi = VIF_VETH;
	if (compat_syscall(ioctl_nr, sk, SIOCGETVIFCNT, &c->vif) ||
	    c->vif.icount != BURST)
		return "compat SIOCGETVIFCNT";
	if (p->f->family == AF_INET6) {
		if (mr_addr(p->f, p->sender, &c->sg6.src.sin6_addr) ||
		    mr_addr(p->f, p->group, &c->sg6.grp.sin6_addr) ||
		    compat_syscall(ioctl_nr, sk, SIOCGETSGCNT_IN6, &c->sg6) ||
		    c->sg6.pktcnt != BURST)
			return "compat SIOCGETSGCNT_IN6";
		return NULL;
	}
	if (mr_addr(p->f, p->sender, &c->sg.src) ||
	    mr_addr(p->f, p->group, &c->sg.grp) ||
	    compat_syscall(ioctl_nr, sk, SIOCGETSGCNT, &c->sg) ||
	    c->sg.pktcnt != BURST)
		return "compat SIOCGETSGCNT";
	return NULL;
}
#else
struct compat {
	char	none;
};

static bool has_compat(void)
{
	return false;
}

static const char *read_compat(const struct plan *p, int sk, struct compat *c)
{
	return NULL;
}

#define MAP_32BIT 0
#endif

static const char *read_files(const struct plan *p)
{
	struct mr_count count;
	char buf[2048];

	if (mr_read(-1, p->f->proc_vif, buf, sizeof(buf)) <= 0 ||
	    !strstr(buf, "veth ") || !strstr(buf, "dummy "))
		return p->f->proc_vif;
	if (mr_proc_count(-1, p->f, p->sender, p->group, &count) ||
	    !is_burst(p->f, &count))
		return p->f->proc_cache;
	return NULL;
}

static void route_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct rtmsg *rtm = NLMSG_DATA(nh);
	struct rta_mfc_stats stats;
	const struct nlattr *nla;
	struct mr_count count;

	nla = mr_nl_msg_attr(nh, sizeof(struct rtmsg), RTA_MFC_STATS);
	if (nh->nlmsg_type != RTM_NEWROUTE || !nla)
		return;
	memcpy(&stats, (char *)nla + NLA_HDRLEN, sizeof(stats));
	count.packets = stats.mfcs_packets;
	count.bytes = stats.mfcs_bytes;
	*(int *)arg += is_burst(rtm->rtm_family == RTNL_FAMILY_IPMR ?
				&mr_ipv4 : &mr_ipv6, &count);
}

static void table_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct nlattr *spec, *id;

	spec = mr_nl_msg_attr(nh, sizeof(struct ifinfomsg), IFLA_AF_SPEC);
	if (nh->nlmsg_type != RTM_NEWLINK || !spec)
		return;
	id = mr_nl_attr((void *)((char *)spec + NLA_HDRLEN),
			spec->nla_len - NLA_HDRLEN, IPMRA_TABLE_ID);
	*(int *)arg += id && *(__u32 *)((char *)id + NLA_HDRLEN) ==
			     RT_TABLE_DEFAULT;
}

static const char *read_netlink(const struct plan *p, int nl)
{
	struct rtmsg rtm = { .rtm_family = p->f->rtnl_family };
	struct ifinfomsg ifi = { .ifi_family = p->f->rtnl_family };
	struct mr_nlreq req;
	__u8 src[16], group[16];
	int good = 0;

	mr_nl_begin(&req, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
	if (mr_nl_query(nl, &req, route_cb, &good) != 1 || good != 1)
		return "RTM_GETROUTE dump";

	mr_addr(p->f, p->sender, src);
	mr_addr(p->f, p->group, group);
	rtm.rtm_src_len = p->f->addr_len * 8;
	rtm.rtm_dst_len = p->f->addr_len * 8;
	mr_nl_begin(&req, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	mr_nl_put(&req, RTA_SRC, src, p->f->addr_len);
	mr_nl_put(&req, RTA_DST, group, p->f->addr_len);
	if (mr_nl_query(nl, &req, route_cb, &good) != 1 || good != 2)
		return "RTM_GETROUTE";

	if (p->f->family == AF_INET6)
		return NULL;
	mr_nl_begin(&req, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi));
	if (mr_nl_query(nl, &req, table_cb, &good) != 1 || good != 3)
		return "RTM_GETLINK dump";
	return NULL;
}

/* A slot runs one namespace after the other, each with two readers. */
struct slot {
	pthread_t		thread;
	const struct plan	*p;
	long			count;
	const char		*wrong;
	unsigned long		loops;
	/* The current namespace, for its readers */
	int			ns;
	bool			stop;
};

struct reader {
	pthread_t		thread;
	struct slot		*slot;
	bool			netlink;	/* else sockets and files */
	const char		*wrong;
	unsigned long		loops;
};

static void *reader_run(void *arg)
{
	struct reader *reader = arg;
	struct slot *slot = reader->slot;
	const struct plan *p = slot->p;
	const char *wrong = NULL;
	int sk = -1, nl = -1;

	if (mr_ns_enter(slot->ns))
		wrong = "setns()";
	sk = mr_sock(-1, p->f);
	nl = mr_nl_open(-1);
	while (!wrong && !__atomic_load_n(&slot->stop, __ATOMIC_RELAXED)) {
		if (reader->netlink)
			wrong = read_netlink(p, nl);
		else
			wrong = read_socket(p, sk) ?: read_files(p);
		__atomic_add_fetch(&reader->loops, 1, __ATOMIC_RELAXED);
	}
	reader->wrong = wrong;
	/* The last socket or thread to go ends the namespace. */
	close_fd(&nl);
	close_fd(&sk);
	return NULL;
}

/* Runs one namespace from set-up to end. @nl is in the parent, and so are the
 * new threads, until they enter the namespace.
 */
static const char *slot_round(struct slot *slot, int nl)
{
	struct reader readers[2] = {};
	const struct plan *p = slot->p;
	const char *wrong = NULL;
	struct mr_frame frame;
	struct router r;
	int err, i, sk;
	time_t end;

	if (router_new(p, nl, &r))
		return "setting up the namespace";
	err = mr_setopt(r.sk, p->f, MRT_PIM, 1);
	if (err && err != -ENOPROTOOPT)
		return "setting MRT_PIM";
	if (mr_setopt(r.sk, p->f, MRT_ASSERT, 1) ||
	    router_add_static(p, &r, 1 << VIF_DUMMY))
		return "setting up the VIFs";

	err = mr_frame_udp(&frame, p->f, p->sender, p->group, 64, 5000, PAYLOAD);
	sk = mr_packet_socket(-1, SOCK_RAW);
	for (i = 0; i < BURST; i++)
		err = err ?: mr_packet_send(sk, SOCK_RAW, r.port_index, &frame);
	close(sk);
	if (err || wait_arrived(p, &r, BURST, arrived_data))
		return "forwarding data";

	slot->ns = r.ns;
	slot->stop = false;
	for (i = 0; i < 2; i++) {
		readers[i].slot = slot;
		readers[i].netlink = i;
		if (pthread_create(&readers[i].thread, NULL, reader_run,
				   &readers[i]))
			return "pthread_create()";
	}
	end = now() + GONE_SECONDS;
	for (i = 0; i < 2; i++) {
		while (__atomic_load_n(&readers[i].loops, __ATOMIC_RELAXED) < 3 &&
		       !__atomic_load_n(&readers[i].wrong, __ATOMIC_RELAXED) &&
		       now() < end)
			usleep(1000);
		if (readers[i].loops < 3 && now() >= end)
			wrong = "waiting for the readers";
	}
	router_close(&r);
	__atomic_store_n(&slot->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		pthread_join(readers[i].thread, NULL);
		wrong = wrong ?: readers[i].wrong;
		slot->loops += readers[i].loops;
	}
	if (!wrong && router_wait_gone(nl, &r))
		wrong = "waiting for the namespace to go away";
	return wrong;
}

static void *slot_run(void *arg)
{
	struct slot *slot = arg;
	int nl = mr_nl_open(-1);
	long i;

	for (i = 0; i < slot->count && !slot->wrong; i++)
		slot->wrong = slot_round(slot, nl);
	close_fd(&nl);
	return NULL;
}

/* Reads tables in every other way, in some namespaces while others die. */
TEST_F_TIMEOUT(mroute, readers, TIMEOUT)
{
	struct slot slots[SLOTS] = {};
	unsigned long loops = 0;
	int i;

	for (i = 0; i < SLOTS; i++) {
		slots[i].p = &variant->plan;
		slots[i].count = (namespaces(9) + SLOTS - 1) / SLOTS;
		ASSERT_EQ(0, pthread_create(&slots[i].thread, NULL, slot_run,
					    &slots[i]));
	}
	for (i = 0; i < SLOTS; i++) {
		pthread_join(slots[i].thread, NULL);
		loops += slots[i].loops;
		EXPECT_EQ(NULL, slots[i].wrong) {
			TH_LOG("failed: %s", slots[i].wrong);
		}
	}
	TH_LOG("%ld namespaces with two readers, %lu loops per reader",
	       SLOTS * slots[0].count, loops / (2 * SLOTS * slots[0].count));
}

/* The ioctls as 32-bit programs call them */
TEST_F_TIMEOUT(mroute, compat, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct mr_frame frame;
	struct compat *compat;
	const char *wrong;
	struct router r;
	int i, sk;

	if (!has_compat())
		SKIP(return, "needs x86-64 and CONFIG_IA32_EMULATION");
	compat = mmap(NULL, sizeof(*compat), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, compat);
	ASSERT_EQ(0, router_new(p, self->nl, &r));
	ASSERT_EQ(0, router_add_static(p, &r, 1 << VIF_DUMMY));
	ASSERT_EQ(0, mr_frame_udp(&frame, p->f, p->sender, p->group, 64, 5000,
				  PAYLOAD));
	sk = mr_packet_socket(-1, SOCK_RAW);
	for (i = 0; i < BURST; i++)
		ASSERT_EQ(0, mr_packet_send(sk, SOCK_RAW, r.port_index, &frame));
	close(sk);
	ASSERT_EQ(0, wait_arrived(p, &r, BURST, arrived_data));
	wrong = read_compat(p, r.adder, compat);
	EXPECT_EQ(NULL, wrong) {
		TH_LOG("failed: %s", wrong);
	}
	router_close(&r);
	EXPECT_EQ(0, router_wait_gone(self->nl, &r));
}

/* Runs a router in a table of its own for a moment. Returns false if the kernel
 * has a single table only.
 */
static bool use_table(struct __test_metadata *_metadata, const struct plan *p,
		      struct router *r, int id, int veth)
{
	int sk = mr_sock(r->ns, p->f);
	int err;

	ASSERT_LE(0, sk);
	err = mr_setopt(sk, p->f, MRT_TABLE, id);
	if (!err) {
		ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_INIT, 1));
		EXPECT_EQ(-EBUSY, mr_setopt(sk, p->f, MRT_TABLE, id));
		EXPECT_EQ(0, mr_vif_add(sk, p->f, VIF_VETH, veth));
		if (has_pim(p, 2))
			EXPECT_EQ(0, mr_vif_add_register(sk, p->f,
							 VIF_REGISTER));
		EXPECT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->sender, p->group,
				    VIF_VETH, 1 << VIF_REGISTER));
		EXPECT_EQ(-EINVAL, mr_setopt(r->adder, p->f, MRT_TABLE,
					     1000000000));
	} else {
		EXPECT_EQ(-ENOPROTOOPT, err);
	}
	close(sk);
	return !err;
}

/* A router comes and goes while data flows, with everything that it can add. */
TEST_F_TIMEOUT(mroute, cycles, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	long i, n = namespaces(6);
	struct flood flood = {};
	struct mr_count count;
	bool tables = true;
	struct router r;
	int veth;

	ASSERT_EQ(0, router_new(p, self->nl, &r));
	ASSERT_EQ(0, router_add_static(p, &r, 1 << VIF_DUMMY));
	veth = mr_link_index(r.nl, "veth");
	ASSERT_EQ(0, flood_add_data(&flood, p, p->group));
	ASSERT_EQ(0, flood_start(&flood, r.port_index));
	ASSERT_EQ(0, wait_arrived(p, &r, 1, arrived_data));
	ASSERT_EQ(0, mr_setopt(r.sk, p->f, MRT_FLUSH, 15));

	for (i = 0; i < n; i++) {
		EXPECT_EQ(-EADDRINUSE, mr_setopt(r.adder, p->f, MRT_INIT, 1));
		EXPECT_EQ(-EACCES, mr_setopt(r.adder, p->f, MRT_DONE, 1));
		ASSERT_EQ(0, mr_vif_add(r.sk, p->f, VIF_VETH, veth));
		ASSERT_EQ(0, router_add_vif(p, &r, VIF_DUMMY, "dummy"));
		ASSERT_EQ(0, mr_mfc(r.sk, p->f, MRT_ADD_MFC_PROXY, p->any,
				    p->group, VIF_VETH, 1 << VIF_DUMMY));
		EXPECT_EQ(0, mr_mfc(r.sk, p->f, MRT_DEL_MFC_PROXY, p->any,
				    p->group, VIF_VETH, 0));
		EXPECT_EQ(-ENOENT, mr_mfc(r.sk, p->f, MRT_DEL_MFC, p->inner,
					  p->group, VIF_VETH, 0));
		tables = use_table(_metadata, p, &r, 100 + i % 2, veth);

		ASSERT_EQ(0, mr_setopt(r.sk, p->f, MRT_DONE, 1));
		EXPECT_EQ(-EACCES, mr_setopt(r.sk, p->f, MRT_DONE, 1));
		EXPECT_NE(0, mr_vif_count(r.sk, p->f, VIF_VETH, &count));
		EXPECT_EQ(0, mr_vif_count(r.sk, p->f, VIF_DUMMY, &count));
		ASSERT_EQ(0, mr_setopt(r.sk, p->f, MRT_INIT, 1));
		EXPECT_EQ(0, mr_vif_del(r.sk, p->f, VIF_DUMMY));
	}
	if (!tables)
		TH_LOG("MRT_TABLE not tested: needs CONFIG_IP_MROUTE_MULTIPLE_TABLES");

	router_close(&r);
	EXPECT_EQ(0, router_wait_gone(self->nl, &r));
	flood_stop(&flood);
	TH_LOG("%ld cycles, %lu packets sent", n, flood.sent);
}

/* The device of a VIF is deleted, or moves to another namespace, while packets
 * go out through it.
 */
TEST_F_TIMEOUT(mroute, device_goes, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	long i, n = namespaces(6);
	struct flood flood = {};
	struct mr_count count;
	struct router r;
	time_t end;

	ASSERT_EQ(0, router_new(p, self->nl, &r));
	ASSERT_EQ(0, router_add_vif(p, &r, VIF_VETH, "veth"));
	ASSERT_EQ(0, flood_add_data(&flood, p, p->group));
	ASSERT_EQ(0, flood_start(&flood, r.port_index));
	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, mr_link_add(r.nl, "dummy", "dummy", NULL));
		ASSERT_EQ(0, mr_link_up(r.nl, "dummy"));
		ASSERT_EQ(0, router_add_vif(p, &r, VIF_DUMMY, "dummy"));
		ASSERT_EQ(0, mr_mfc(r.sk, p->f, MRT_ADD_MFC, p->sender,
				    p->group, VIF_VETH, 1 << VIF_DUMMY));
		end = now() + ARRIVE_SECONDS;
		do {
			ASSERT_EQ(0, mr_vif_count(r.sk, p->f, VIF_DUMMY, &count));
		} while (count.wrong_if < 2 && now() < end);
		ASSERT_LE(2UL, count.wrong_if);

		if (i & 1) {
			ASSERT_EQ(0, mr_link_move(r.nl, "dummy", self->parent));
			ASSERT_EQ(0, mr_link_del(self->nl, "dummy"));
		} else {
			ASSERT_EQ(0, mr_link_del(r.nl, "dummy"));
		}
		EXPECT_EQ(-EINVAL, mr_vif_count(r.sk, p->f, VIF_DUMMY, &count));
		EXPECT_EQ(0, mr_mfc_count(r.sk, p->f, p->sender, p->group,
					  &count));
	}
	router_close(&r);
	EXPECT_EQ(0, router_wait_gone(self->nl, &r));
	flood_stop(&flood);
}

TEST_HARNESS_MAIN
