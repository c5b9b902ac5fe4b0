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
 * Namespaces die in the order of their creation, several in a batch.
 *
 * MROUTE_NAMESPACES=N makes every test use N namespaces.
 */
#include "mroute_lib.h"
#include "mroute_query.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/fib_rules.h>
#include <linux/filter.h>
#include <linux/if_tun.h>

#include "../kselftest_harness.h"

/* A last resort for the harness: router_gone() gives up earlier. */
#define TIMEOUT		900
#define GONE_SECONDS	60
#define ARRIVE_SECONDS	20

#define BATCH		4
#define TAPS		6
#define BURST		8
#define PAYLOAD		64
#define READS		3	/* at least, in each namespace */
/* Extra tables, and rules whose lookups each walk all of them. */
#define TABLES		100
#define RULES		50
#define FIRST_TABLE	1000

/* VIF numbers. Not every test has all of these VIFs. */
enum { VIF_VETH, VIF_DUMMY, VIF_REGISTER, VIF_TUNNEL, VIF_TAP };

/* A namespace with a multicast router, the peer of the parent's port */
struct router {
	struct mr_daemon	d;
	int			parent_nl;
	char			port[IFNAMSIZ];
	int			port_index;
	int			taps[TAPS];	/* held in the parent */
	/* A flood from the port: some frames in turn, from a thread */
	struct mr_frame		frames[3];
	unsigned int		n_frames;
	unsigned long		sent;
	bool			stop;
	int			tx;
	pthread_t		thread;
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

static int router_new(const struct mr_plan *p, int parent_nl, struct router *r)
{
	/* Nobody reads the socket, and the kernel warns if it is full. */
	const int rcvbuf = 64 << 20;
	static int last;
	int err;

	memset(r, 0, sizeof(*r));
	memset(r->taps, -1, sizeof(r->taps));
	r->tx = -1;
	r->parent_nl = parent_nl;
	snprintf(r->port, sizeof(r->port), "mr%d",
		 __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED));
	err = mr_daemon_open(&r->d, p);
	err = err ?: mr_err(setsockopt(r->d.sk, SOL_SOCKET, SO_RCVBUFFORCE,
				       &rcvbuf, sizeof(rcvbuf)));
	err = err ?: mr_link_add_veth(parent_nl, r->port, r->d.ns, "veth",
				      mr_router_mac);
	err = err ?: mr_link_up(r->d.nl, "lo");
	/* In this order, the parent's end can send right away. */
	err = err ?: mr_link_up(r->d.nl, "veth");
	err = err ?: mr_link_up(parent_nl, r->port);
	err = err ?: mr_addr_add(r->d.nl, p->f, "veth", p->router[0],
				 p->prefix);
	r->port_index = err ?: mr_link_index(parent_nl, r->port);
	return r->port_index < 0 ? r->port_index : 0;
}

static int router_add_vif(struct router *r, int vifi, const char *name)
{
	int index = mr_link_index(r->d.nl, name);

	return index < 0 ? index : mr_vif_add(r->d.raw, r->d.p->f, vifi, index);
}

/* Adds static VIFs for the veth and a dummy, and a static route from the veth
 * to @oifs.
 */
static int router_add_static(struct router *r, __u32 oifs)
{
	const struct mr_plan *p = r->d.p;
	int err;

	err = mr_link_add(r->d.nl, "dummy", "dummy", NULL);
	err = err ?: mr_link_up(r->d.nl, "dummy");
	err = err ?: router_add_vif(r, VIF_VETH, "veth");
	err = err ?: router_add_vif(r, VIF_DUMMY, "dummy");
	return err ?: mr_mfc(r->d.raw, p->f, MRT_ADD_MFC, p->source, p->group,
			     VIF_VETH, oifs);
}

/* Keeps input looking up multicast routes after the router's socket and VIFs
 * are gone. The namespace's own counter does that, which is a copy of the one
 * that FIXTURE_SETUP() holds above zero. IPv4 also has one for each device,
 * which later kernels let nobody set. There, only the input that is under way
 * when the last VIF goes looks up routes after that.
 */
static int router_keep_forwarding(struct router *r)
{
	int err;

	if (r->d.p->f->family == AF_INET6)
		return 0;
	err = mr_link_mc_forwarding(r->d.nl, "veth", 1000);
	return err == -EINVAL ? 0 : err;
}

/* Adds data for @group to the flood. */
static int flood_data(struct router *r, const char *group)
{
	return mr_frame_udp(&r->frames[r->n_frames++], r->d.p->f,
			    r->d.p->source, group, 64, 5000, PAYLOAD);
}

static int flood_register(struct router *r, int version)
{
	return mr_frame_register(&r->frames[r->n_frames++], r->d.p, version);
}

/* Ends by itself when the device goes down. */
static void *flood_run(void *arg)
{
	struct router *r = arg;
	unsigned int i = 0;
	int err = 0;

	while (err != -ENETDOWN && err != -ENXIO &&
	       !__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		err = mr_packet_send(r->tx, SOCK_RAW, r->port_index,
				     &r->frames[i++ % r->n_frames]);
		if (!err)
			__atomic_add_fetch(&r->sent, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static int flood_start(struct router *r)
{
	r->tx = mr_packet_socket(-1, SOCK_RAW);
	if (r->tx < 0)
		return r->tx;
	return -pthread_create(&r->thread, NULL, flood_run, r);
}

/* Waits for the end of a router that was closed, and stops its flood. The port
 * goes away with the namespace's devices.
 */
static int router_gone(struct router *r)
{
	time_t end = now() + GONE_SECONDS;
	int index;

	do {
		usleep(1000);
		index = mr_link_index(r->parent_nl, r->port);
	} while (index > 0 && now() < end);
	if (r->tx >= 0) {
		__atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
		pthread_join(r->thread, NULL);
		close(r->tx);
	}
	return index == -ENODEV ? 0 : index < 0 ? index : -ETIMEDOUT;
}

static int router_end(struct router *r)
{
	mr_daemon_close(&r->d);
	return router_gone(r);
}

/* Only in the initial namespace, and for all. With 3, new namespaces copy the
 * "all" configuration of the one that they are created from, including its
 * mc_forwarding count. main() puts it right even if the harness kills a test.
 */
static int inherit = -1;
static char inherited;

static void inherit_restore(void)
{
	if (inherited && pwrite(inherit, &inherited, 1, 0) != 1)
		perror("devconf_inherit_init_net");
}

FIXTURE(mroute) {
	const struct mr_plan *p;
	int	holder;
	int	nl;
	int	parent;
};

FIXTURE_VARIANT(mroute) {
	const struct mr_plan *p;
};

FIXTURE_VARIANT_ADD(mroute, ipv4) {
	.p = &mr_plan_ipv4,
};

FIXTURE_VARIANT_ADD(mroute, ipv6) {
	.p = &mr_plan_ipv6,
};

FIXTURE_SETUP(mroute)
{
	self->p = variant->p;
	if (geteuid())
		SKIP(return, "needs root");

	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	self->parent = mr_ns_self();
	ASSERT_LE(0, self->parent);
	self->nl = mr_nl_open(-1);
	ASSERT_LE(0, self->nl);
	self->holder = mr_router(-1, self->p->f);
	if (self->holder == -ENOPROTOOPT || self->holder == -EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_IP_MROUTE or CONFIG_IPV6_MROUTE");
	ASSERT_LE(0, self->holder);
	ASSERT_EQ(inherited ? 1 : -1, pwrite(inherit, "3", 1, 0));
}

/* Let one more namespace die: cleanup_net() only gets to it after it has
 * finished with all that died before.
 */
FIXTURE_TEARDOWN(mroute)
{
	struct router r;

	EXPECT_EQ(0, router_new(self->p, self->nl, &r));
	EXPECT_EQ(0, router_end(&r));
	inherit_restore();
}

static long forwarded(struct router *r, const char *source)
{
	const struct mr_plan *p = r->d.p;
	struct mr_count count;
	int err;

	err = mr_mfc_count(r->d.raw, p->f, source, p->group, &count);
	return err ?: (long)count.packets;
}

/* /proc shows unresolved routes as well, but without counts. */
static long queued(struct router *r, const char *source, const char *group)
{
	struct mr_count count;
	int err;

	err = mr_proc_count(r->d.ns, r->d.p->f, source, group, &count);
	return err == -ENOENT ? 0 : err ?: 2;
}

static long arrived_data(struct router *r)
{
	return forwarded(r, r->d.p->source);
}

static long arrived_both(struct router *r)
{
	long data = forwarded(r, r->d.p->source);

	return data <= 0 ? data : forwarded(r, r->d.p->other_source);
}

static long arrived_unresolved(struct router *r)
{
	return queued(r, r->d.p->source, r->d.p->other_group);
}

/* The packets from inside the REGISTERs arrive through pimreg. */
static long arrived_register(struct router *r)
{
	return queued(r, r->d.p->other_source, r->d.p->group);
}

/* The register VIF goes away with the router's socket, so the namespace dies
 * without one.
 */
static int prepare_register(struct router *r, int version)
{
	int err = mr_setopt(r->d.sk, r->d.p->f, MRT_PIM, 1);

	err = err ?: mr_vif_add_register(r->d.sk, r->d.p->f, VIF_REGISTER);
	return err ?: flood_register(r, version);
}

static int prepare_pimv1(struct router *r)
{
	return prepare_register(r, 1);
}

static int prepare_pimv2(struct router *r)
{
	return prepare_register(r, 2);
}

static int prepare_static(struct router *r, const char *group, __u32 oifs)
{
	int err = router_add_static(r, oifs);

	err = err ?: router_keep_forwarding(r);
	return err ?: flood_data(r, group);
}

static int prepare_data(struct router *r)
{
	return prepare_static(r, r->d.p->group, 1 << VIF_DUMMY);
}

static int prepare_unresolved(struct router *r)
{
	return prepare_static(r, r->d.p->other_group, 1 << VIF_DUMMY);
}

/* All VIFs are static, so their devices die with the table. */
static int prepare_devices(struct router *r)
{
	__u32 oifs = 1 << VIF_DUMMY | 1 << VIF_REGISTER | 1 << VIF_TUNNEL;
	const struct mr_plan *p = r->d.p;
	int err;

	err = mr_setopt(r->d.sk, p->f, MRT_PIM, 1);
	err = err ?: mr_vif_add_register(r->d.raw, p->f, VIF_REGISTER);
	if (p->f->family == AF_INET) {
		if (mr_link_index(r->d.nl, "tunl0") > 0)
			err = err ?: mr_vif_add_tunnel(r->d.raw, VIF_TUNNEL,
						       p->router[0], p->source);
		err = err ?: flood_register(r, 1);
	}
	err = err ?: flood_register(r, 2);
	err = err ?: prepare_static(r, p->group, oifs);
	return err ?: mr_mfc(r->d.raw, p->f, MRT_ADD_MFC, p->other_source,
			     p->group, VIF_REGISTER,
			     oifs & ~(1 << VIF_REGISTER));
}

/* Adds rules whose tables do not exist, and many tables that every packet
 * walks to find that out. Packets should spend most of their time in that
 * walk.
 */
static int prepare_tables(struct router *r)
{
	struct fib_rule_hdr frh = {
		.family = r->d.p->f->rtnl_family,
		.action = FR_ACT_TO_TBL,
	};
	struct mr_nlreq req;
	int err = 0, i, sk;

	for (i = 0; !err && i < TABLES; i++) {
		sk = mr_sock(r->d.ns, r->d.p->f);
		if (sk < 0)
			return sk;
		err = mr_setopt(sk, r->d.p->f, MRT_TABLE, FIRST_TABLE + i);
		close(sk);
	}
	for (i = 0; !err && i < RULES; i++) {
		mr_nl_begin(&req, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &frh,
			    sizeof(frh));
		mr_nl_put_u32(&req, FRA_PRIORITY, 1 + i);
		mr_nl_put_u32(&req, FRA_TABLE, FIRST_TABLE + TABLES + i);
		err = mr_nl_talk(r->d.nl, &req);
	}
	return err ?: prepare_data(r);
}

/* Adds a TAP to the router whose filter is as slow as possible, and drops. The
 * filter must take longer than the kernel takes from clearing the VIFs to
 * freeing the table, so every instruction calls a function. The TAP's file
 * belongs to the caller's namespace, so it does not keep the router's alive.
 */
static int slow_tap(struct router *r, int nl, int i)
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
	r->taps[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (r->taps[i] < 0 || ioctl(r->taps[i], TUNSETIFF, &ifr) ||
	    ioctl(r->taps[i], TUNATTACHFILTER, &prog))
		return -errno;
	err = mr_link_set(nl, ifr.ifr_name, IFLA_NET_NS_FD, r->d.ns);
	err = err ?: mr_link_up(r->d.nl, ifr.ifr_name);
	return err ?: router_add_vif(r, VIF_TAP + i, ifr.ifr_name);
}

static int prepare_taps(struct router *r)
{
	int nl = mr_nl_open(-1);
	int err = nl < 0 ? nl : 0;
	__u32 oifs = 0;
	int i;

	for (i = 0; !err && i < TAPS; i++) {
		err = slow_tap(r, nl, i);
		oifs |= 1 << (VIF_TAP + i);
	}
	close(nl);
	return err ?: prepare_static(r, r->d.p->group, oifs);
}

static int wait_arrived(struct router *r, long least,
			long (*arrived)(struct router *r))
{
	time_t end = now() + ARRIVE_SECONDS;
	long n;

	do {
		n = arrived(r);
		if (n >= least)
			return 0;
		usleep(1000);
	} while (n >= 0 && now() < end);
	return n < 0 ? n : -ETIMEDOUT;
}

/* Makes @count namespaces die, @batch at a time, each under a flood. */
static void dismantle(struct __test_metadata *_metadata,
		      FIXTURE_DATA(mroute) * self, long count, int batch,
		      int (*prepare)(struct router *r),
		      long (*arrived)(struct router *r))
{
	unsigned long sent[BATCH], alive = 0, dying = 0;
	struct router r[BATCH];
	int j, k, n;
	long i;

	if (!inherited)
		SKIP(return, "not started in the initial network namespace");
	count = namespaces(count);
	for (i = 0; i < count; i += n) {
		n = count - i < batch ? count - i : batch;
		for (j = 0; j < n; j++) {
			ASSERT_EQ(0, router_new(self->p, self->nl, &r[j]));
			ASSERT_EQ(0, prepare(&r[j]));
		}
		for (j = 0; j < n; j++)
			ASSERT_EQ(0, flood_start(&r[j]));
		for (j = 0; j < n; j++) {
			ASSERT_EQ(0, wait_arrived(&r[j], 2, arrived)) {
				TH_LOG("%lu packets sent, but they did not arrive",
				       r[j].sent);
			}
		}
		for (j = 0; j < n; j++)
			mr_daemon_close(&r[j].d);
		/* Only now are all of them without a reference. */
		for (j = 0; j < n; j++)
			sent[j] = __atomic_load_n(&r[j].sent, __ATOMIC_RELAXED);
		for (j = 0; j < n; j++) {
			ASSERT_EQ(0, router_gone(&r[j]));
			/* Close these last, to show that they do not hold the
			 * namespace.
			 */
			for (k = 0; k < TAPS; k++)
				close(r[j].taps[k]);
			alive += sent[j];
			dying += r[j].sent - sent[j];
		}
	}
	TH_LOG("%ld namespaces: %lu packets sent while alive, %lu while dying",
	       count, alive, dying);
	EXPECT_LT(0UL, dying);
}

/* Then the same with PIMv1, where the kernel has it */
TEST_F_TIMEOUT(mroute, pimv2_register, TIMEOUT)
{
	if (!mr_has_pim(self->p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	dismantle(_metadata, self, 4, BATCH, prepare_pimv2, arrived_register);
	if (mr_has_pim(self->p, 1))
		dismantle(_metadata, self, 4, BATCH, prepare_pimv1,
			  arrived_register);
}

TEST_F_TIMEOUT(mroute, multicast_data, TIMEOUT)
{
	dismantle(_metadata, self, 8, BATCH, prepare_data, arrived_data);
}

/* Packets without a route are queued as long as there is a router. */
TEST_F_TIMEOUT(mroute, unresolved, TIMEOUT)
{
	dismantle(_metadata, self, 6, 2, prepare_unresolved,
		  arrived_unresolved);
}

/* Lookups that are walking the tables when one of them is unlinked. */
TEST_F_TIMEOUT(mroute, many_tables, TIMEOUT)
{
	if (!mr_has_tables(self->holder, self->p->f))
		SKIP(return, "needs CONFIG_IP_MROUTE_MULTIPLE_TABLES");
	dismantle(_metadata, self, 6, 2, prepare_tables, arrived_data);
}

/* A packet that still uses the table when it is freed. Without slow outputs,
 * the window is too small to hit, and without KASAN, nothing tells.
 */
TEST_F_TIMEOUT(mroute, slow_reader, TIMEOUT)
{
	int fd;

	if (access("/dev/net/tun", R_OK | W_OK))
		SKIP(return, "needs /dev/net/tun");
	if (!mr_has_function("kasan_report"))
		TH_LOG("without KASAN, only a crash fails this test");
	fd = open("/proc/sys/net/core/optmem_max", O_WRONLY);
	ASSERT_EQ(7, write(fd, "1048576", 7));
	close(fd);
	dismantle(_metadata, self, 8, 1, prepare_taps, arrived_data);
}

TEST_F_TIMEOUT(mroute, register_vif_dies, TIMEOUT)
{
	if (!mr_has_pim(self->p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	dismantle(_metadata, self, 4, 2, prepare_devices, arrived_both);
}

/* Sends a packet through pimreg, behind @bad ones, and expects a report of it
 * only.
 */
static void send_through_pimreg(struct __test_metadata *_metadata,
				FIXTURE_DATA(mroute) * self, int bad)
{
	const struct timeval timeout = { .tv_sec = ARRIVE_SECONDS };
	const struct mr_plan *p = self->p;
	const struct mr_family *other = p->f == &mr_ipv4 ? &mr_ipv6 : &mr_ipv4;
	const struct mr_frame *good;
	struct mr_frame frames[5];
	struct mr_upcall up;
	struct router r;
	int i, index, sk;

	if (!mr_has_pim(p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	for (i = 0; i <= bad; i++)
		ASSERT_EQ(0, mr_frame_udp(&frames[i], p->f, p->source, p->group,
					  64, 5000, PAYLOAD));
	good = &frames[bad];
	if (bad) {
		frames[0].len = ETH_HLEN + 1;
		frames[1].len = ETH_HLEN + p->f->ip_len - 1;
		((struct ethhdr *)frames[2].data)->h_proto = htons(ETH_P_ARP);
		frames[2].len = ETH_HLEN + 1;
		((struct ethhdr *)frames[3].data)->h_proto = htons(other->eth_proto);
		frames[3].len = ETH_HLEN + other->ip_len;
	}

	ASSERT_EQ(0, router_new(p, self->nl, &r));
	ASSERT_EQ(0, prepare_pimv2(&r));
	ASSERT_EQ(0, setsockopt(r.d.sk, SOL_SOCKET, SO_RCVTIMEO, &timeout,
				sizeof(timeout)));
	index = mr_link_index(r.d.nl, p->f->register_name);
	ASSERT_LT(0, index);
	sk = mr_packet_socket(r.d.ns, SOCK_DGRAM);
	ASSERT_LE(0, sk);
	for (i = 0; i <= bad; i++)
		ASSERT_EQ(0, mr_packet_send(sk, SOCK_DGRAM, index, &frames[i]));

	ASSERT_EQ(IGMPMSG_WHOLEPKT, mr_upcall(r.d.sk, p->f, 0, &up));
	EXPECT_EQ(VIF_REGISTER, up.vif);
	EXPECT_STREQ(p->source, up.src);
	EXPECT_STREQ(p->group, up.dst);
	ASSERT_EQ(good->len - ETH_HLEN, up.len);
	EXPECT_EQ(0, memcmp(up.data, good->data + ETH_HLEN, up.len));
	EXPECT_EQ(-EAGAIN, mr_upcall(r.d.sk, p->f, MSG_DONTWAIT, &up));

	close(sk);
	EXPECT_EQ(0, router_end(&r));
}

/* A packet that is sent through pimreg goes to the daemon. pimreg transmits
 * under rcu_read_lock_bh() only, so PROVE_RCU complains if the lookup does not
 * take rcu_read_lock(). Sent through a UDP socket, the packet would bring a
 * lock of its own.
 */
TEST_F_TIMEOUT(mroute, pimreg_packet, TIMEOUT)
{
	if (!mr_has_function("lockdep_rcu_suspicious"))
		TH_LOG("without PROVE_RCU, a lookup without RCU goes unnoticed");
	send_through_pimreg(_metadata, self, 0);
}

/* A packet that is too short for an IP header, of the other family, or none at
 * all, does not go to the daemon: its report would have a header made of what
 * lies behind it in memory.
 */
TEST_F_TIMEOUT(mroute, pimreg_bad_packet, TIMEOUT)
{
	send_through_pimreg(_metadata, self, 4);
}

/* Sends a burst of data, which the router forwards to its dummy. */
static int router_burst(struct router *r)
{
	int err, i, sk;

	err = router_add_static(r, 1 << VIF_DUMMY);
	err = err ?: flood_data(r, r->d.p->group);
	sk = mr_packet_socket(-1, SOCK_RAW);
	for (i = 0; i < BURST; i++)
		err = err ?: mr_packet_send(sk, SOCK_RAW, r->port_index,
					    &r->frames[0]);
	close(sk);
	return err ?: wait_arrived(r, BURST, arrived_data);
}

static bool is_burst(const struct mr_family *f, const struct mr_count *count)
{
	return count->packets == BURST &&
	       count->bytes == BURST * (f->ip_len + sizeof(struct udphdr) +
					PAYLOAD);
}

/* Readers return a description of what went wrong, or NULL. */

static const char *read_socket(struct router *r)
{
	const struct mr_plan *p = r->d.p;
	struct mr_count count;

	if (mr_getopt(r->d.raw, p->f, MRT_VERSION) != 0x0305)
		return "MRT_VERSION";
	if (mr_getopt(r->d.raw, p->f, MRT_ASSERT) != 1)
		return "MRT_ASSERT";
	if (mr_vif_count(r->d.raw, VIF_VETH, &count) || !is_burst(p->f, &count))
		return "SIOCGETVIFCNT";
	if (mr_mfc_count(r->d.raw, p->f, p->source, p->group, &count) ||
	    !is_burst(p->f, &count))
		return "SIOCGETSGCNT";
	if (mr_proc_vif(r->d.ns, p->f, VIF_VETH, &count) ||
	    !is_burst(p->f, &count))
		return p->f->proc_vif;
	if (mr_proc_count(r->d.ns, p->f, p->source, p->group, &count) ||
	    !is_burst(p->f, &count))
		return p->f->proc_cache;
	return NULL;
}

static const char *read_netlink(struct router *r)
{
	const struct mr_plan *p = r->d.p;
	struct mr_table_info info;
	struct mr_route route;

	if (mr_route_get(r->d.nl, p->f, NLM_F_DUMP, p->source, p->group, 0,
			 &route) != 1 || !is_burst(p->f, &route.count))
		return "RTM_GETROUTE dump";
	if (mr_route_get(r->d.nl, p->f, 0, p->source, p->group, 0,
			 &route) != 1 || !is_burst(p->f, &route.count))
		return "RTM_GETROUTE";
	if (p->f->family == AF_INET &&
	    (mr_table_get(r->d.nl, p->f, VIF_VETH, &info) != 1 ||
	     !is_burst(p->f, &info.count)))
		return "RTM_GETLINK dump";
	return NULL;
}

struct reader {
	pthread_t	thread;
	struct router	*r;
	const char	*(*read)(struct router *r);
	const char	*wrong;
	unsigned long	loops;
	bool		stop;
};

static void *reader_run(void *arg)
{
	struct reader *reader = arg;

	do {
		reader->wrong = reader->read(reader->r);
		reader->loops++;
	} while (!reader->wrong &&
		 (reader->loops < READS ||
		  !__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)));
	return NULL;
}

/* Reads the tables of one namespace in every other way while another one dies.
 */
TEST_F_TIMEOUT(mroute, readers, TIMEOUT)
{
	struct router routers[2], *r, *old = NULL;
	long i, n = namespaces(9);
	unsigned long loops = 0;
	int k;

	for (i = 0; i < n; i++) {
		struct reader readers[] = {
			{ .read = read_socket },
			{ .read = read_netlink },
		};

		r = &routers[i % 2];
		ASSERT_EQ(0, router_new(self->p, self->nl, r));
		ASSERT_EQ(0, mr_setopt(r->d.sk, r->d.p->f, MRT_ASSERT, 1));
		ASSERT_EQ(0, router_burst(r));
		for (k = 0; k < 2; k++) {
			readers[k].r = r;
			ASSERT_EQ(0, pthread_create(&readers[k].thread, NULL,
						    reader_run, &readers[k]));
		}
		if (old)
			EXPECT_EQ(0, router_end(old));
		for (k = 0; k < 2; k++) {
			__atomic_store_n(&readers[k].stop, true,
					 __ATOMIC_RELAXED);
			pthread_join(readers[k].thread, NULL);
			EXPECT_EQ(NULL, readers[k].wrong) {
				TH_LOG("failed: %s", readers[k].wrong);
			}
			loops += readers[k].loops;
		}
		old = r;
	}
	EXPECT_EQ(0, router_end(old));
	TH_LOG("%ld namespaces, %lu loops of readers", n, loops);
}

#ifdef __x86_64__
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

/* The ioctls as 32-bit programs call them */
TEST_F_TIMEOUT(mroute, compat, TIMEOUT)
{
	const struct mr_family *f = self->p->f;
	bool v6 = f->family == AF_INET6;
	const int ioctl_nr = 54;
	struct router r;
	__u32 *arg;

	if (!has_compat())
		SKIP(return, "needs CONFIG_IA32_EMULATION");
	arg = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, arg);
	ASSERT_EQ(0, router_new(self->p, self->nl, &r));
	ASSERT_EQ(0, router_burst(&r));

	/* struct sioc_vif_req: the VIF, then the packets in */
	arg[0] = VIF_VETH;
	EXPECT_EQ(0, compat_syscall(ioctl_nr, r.d.raw, SIOCGETVIFCNT, arg));
	EXPECT_EQ(BURST, arg[1]);

	/* struct sioc_sg_req: source, group, packets. IPv6 has the addresses as
	 * struct sockaddr_in6, of seven words.
	 */
	mr_addr(f, self->p->source, arg + (v6 ? 2 : 0));
	mr_addr(f, self->p->group, arg + (v6 ? 7 + 2 : 1));
	EXPECT_EQ(0, compat_syscall(ioctl_nr, r.d.raw, SIOCGETSGCNT, arg));
	EXPECT_EQ(BURST, arg[v6 ? 2 * 7 : 2]);

	EXPECT_EQ(0, router_end(&r));
}
#endif /* __x86_64__ */

/* A router comes and goes while data flows, with everything that it can add:
 * also in a table of its own, where the kernel has several.
 */
TEST_F_TIMEOUT(mroute, cycles, TIMEOUT)
{
	bool tables = mr_has_tables(self->holder, self->p->f);
	const struct mr_plan *p = self->p;
	bool pim = mr_has_pim(p, 2);
	long i, n = namespaces(6);
	struct router r;
	int veth, sk;

	ASSERT_EQ(0, router_new(p, self->nl, &r));
	ASSERT_EQ(0, router_add_static(&r, 1 << VIF_DUMMY));
	veth = mr_link_index(r.d.nl, "veth");
	ASSERT_EQ(0, flood_data(&r, p->group));
	ASSERT_EQ(0, flood_start(&r));
	ASSERT_EQ(0, wait_arrived(&r, 1, arrived_data));
	ASSERT_EQ(0, mr_setopt(r.d.sk, p->f, MRT_FLUSH, 15));

	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, mr_vif_add(r.d.sk, p->f, VIF_VETH, veth));
		ASSERT_EQ(0, router_add_vif(&r, VIF_DUMMY, "dummy"));
		ASSERT_EQ(0, mr_mfc(r.d.sk, p->f, MRT_ADD_MFC_PROXY, p->any,
				    p->group, VIF_VETH, 1 << VIF_DUMMY));
		EXPECT_EQ(0, mr_mfc(r.d.sk, p->f, MRT_DEL_MFC_PROXY, p->any,
				    p->group, VIF_VETH, 0));
		if (tables) {
			sk = mr_sock(r.d.ns, p->f);
			ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_TABLE,
					       FIRST_TABLE + i % 2));
			ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_INIT, 1));
			EXPECT_EQ(0, mr_vif_add(sk, p->f, VIF_VETH, veth));
			if (pim)
				EXPECT_EQ(0, mr_vif_add_register(sk, p->f,
								 VIF_REGISTER));
			EXPECT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source,
					    p->group, VIF_VETH,
					    1 << VIF_REGISTER));
			close(sk);
		}
		ASSERT_EQ(0, mr_setopt(r.d.sk, p->f, MRT_DONE, 1));
		ASSERT_EQ(0, mr_setopt(r.d.sk, p->f, MRT_INIT, 1));
		EXPECT_EQ(0, mr_vif_del(r.d.sk, p->f, VIF_DUMMY));
	}

	EXPECT_EQ(0, router_end(&r));
	TH_LOG("%ld cycles, %lu packets sent", n, r.sent);
}

static long arrived_dummy(struct router *r)
{
	struct mr_count count;
	int err = mr_vif_count(r->d.raw, VIF_DUMMY, &count);

	return err ?: (long)count.wrong_if;
}

static void *delete_port(void *arg)
{
	struct router *r = arg;
	int nl = mr_nl_open(-1);
	long err = nl < 0 ? nl : mr_link_del(nl, r->port);

	close(nl);
	return (void *)err;
}

/* The device of a VIF is deleted, or moves to another namespace, while packets
 * go out through it. Finally, the device that they come in through is deleted
 * from outside, with its peer, and the namespace dies, perhaps before that
 * deletion has returned.
 */
TEST_F_TIMEOUT(mroute, device_goes, TIMEOUT)
{
	const struct mr_plan *p = self->p;
	long i, n = namespaces(6);
	pthread_t thread;
	struct router r;
	void *err;

	ASSERT_EQ(0, router_new(p, self->nl, &r));
	ASSERT_EQ(0, router_add_vif(&r, VIF_VETH, "veth"));
	ASSERT_EQ(0, flood_data(&r, p->group));
	ASSERT_EQ(0, flood_start(&r));
	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, mr_link_add(r.d.nl, "dummy", "dummy", NULL));
		ASSERT_EQ(0, mr_link_up(r.d.nl, "dummy"));
		ASSERT_EQ(0, router_add_vif(&r, VIF_DUMMY, "dummy"));
		ASSERT_EQ(0, mr_mfc(r.d.sk, p->f, MRT_ADD_MFC, p->source,
				    p->group, VIF_VETH, 1 << VIF_DUMMY));
		ASSERT_EQ(0, wait_arrived(&r, 2, arrived_dummy));

		if (i & 1)
			ASSERT_EQ(0, mr_link_set(r.d.nl, "dummy",
						 IFLA_NET_NS_FD, self->parent));
		ASSERT_EQ(0, mr_link_del(i & 1 ? self->nl : r.d.nl, "dummy"));
		EXPECT_EQ(-EINVAL, arrived_dummy(&r));
		EXPECT_LE(0, arrived_data(&r));
	}

	ASSERT_EQ(0, pthread_create(&thread, NULL, delete_port, &r));
	EXPECT_EQ(0, router_gone(&r));
	mr_daemon_close(&r.d);
	ASSERT_EQ(0, pthread_join(thread, &err));
	EXPECT_EQ(NULL, err);
}

int main(int argc, char **argv)
{
	inherit = open("/proc/sys/net/core/devconf_inherit_init_net", O_RDWR);
	if (read(inherit, &inherited, 1) == 1)
		atexit(inherit_restore);
	return test_harness_run(argc, argv);
}
