// SPDX-License-Identifier: GPL-2.0
/*
 * Tests multicast forwarding: which packets the router sends, what it reports
 * to its daemon, and what it counts. Every packet carries a number.
 *
 * To see that a packet is not forwarded, the tests do not wait for it. They
 * send a marker behind it that is forwarded, and expect the marker next. All
 * packets are sent from one CPU, so the router handles them in order.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <linux/fib_rules.h>

#include "../kselftest_harness.h"
#include "mroute_lib.h"
#include "mroute_query.h"

#define LINKS		3
#define REGISTER_VIF	LINKS
#define PORT		5000
#define PAYLOAD		32
#define PACKET_LEN	(p->f->ip_len + sizeof(struct udphdr) + PAYLOAD)
#define TTL		64
#define OTHER_TABLE	100
#define NOTHING		(-1)

/* The number of a marker. */
#define MARK		0xffff

/* How long to wait for one packet, and for a whole test, on a slow and busy
 * machine.
 */
#define PATIENCE_MS	20000
#define TIMEOUT_S	240

/* The router has router[i] on link i. The source is behind link 0. */
struct plan {
	const struct mr_family *f;
	const char *router[LINKS];
	const char *neighbour[LINKS];
	int prefix;
	const char *source;
	const char *other;	/* a source behind the register VIF */
	const char *group;
	const char *mark;	/* group of the markers */
	const char *any;
};

static const struct plan ipv4 = {
	.f		= &mr_ipv4,
	.router		= { "10.0.0.1", "10.0.1.1", "10.0.2.1" },
	.neighbour	= { "10.0.0.2", "10.0.1.2", "10.0.2.2" },
	.prefix		= 24,
	.source		= "10.0.0.9",
	.other		= "10.0.9.9",
	.group		= "239.1.1.1",
	.mark		= "239.9.9.9",
	.any		= "0.0.0.0",
};

static const struct plan ipv6 = {
	.f		= &mr_ipv6,
	.router		= { "fd00::1", "fd00:1::1", "fd00:2::1" },
	.neighbour	= { "fd00::2", "fd00:1::2", "fd00:2::2" },
	.prefix		= 64,
	.source		= "fd00::9",
	.other		= "fd00:9::9",
	.group		= "ff15::1",
	.mark		= "ff15::9",
	.any		= "::",
};

struct router {
	const struct plan *plan;
	int ns;
	int host;		/* namespace at the other end of the links */
	int nl;
	int sk;			/* the daemon's socket */
	int raw;		/* a second one: its VIFs and MFCs are static */
	int tx;
	int rx[LINKS];		/* packet sockets on the host's ends */
	int link[LINKS];
	int host_link[LINKS];
	bool tables;		/* CONFIG_IP_MROUTE_MULTIPLE_TABLES */
};

struct packet {
	int ttl;
	int protocol;
	int len;
	char dst[INET6_ADDRSTRLEN];
};

static bool wait_input(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, PATIENCE_MS) == 1;
}

/* Returns the number of the next packet from a packet socket, or NOTHING. What
 * IGMP, MLD and neighbour discovery send is not counted.
 */
static int receive(int fd, struct packet *packet)
{
	__u8 buf[512];
	const struct ipv6hdr *ip6 = (void *)buf;
	const struct iphdr *ip = (void *)buf;
	__u32 number;
	int len;

	do {
		if (!wait_input(fd))
			return NOTHING;
		len = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (len < (int)sizeof(*ip))
			return NOTHING;
		if (ip->version == 6) {
			packet->len = sizeof(*ip6) + ntohs(ip6->payload_len);
			packet->ttl = ip6->hop_limit;
			packet->protocol = ip6->nexthdr;
			inet_ntop(AF_INET6, &ip6->daddr, packet->dst,
				  sizeof(packet->dst));
		} else {
			packet->len = ntohs(ip->tot_len);
			packet->ttl = ip->ttl;
			packet->protocol = ip->protocol;
			inet_ntop(AF_INET, &ip->daddr, packet->dst,
				  sizeof(packet->dst));
		}
		if (packet->len > len)
			return NOTHING;
	} while (packet->protocol == IPPROTO_IGMP ||
		 packet->protocol == IPPROTO_ICMPV6 ||
		 packet->protocol == IPPROTO_HOPOPTS);

	memcpy(&number, buf + packet->len - sizeof(number), sizeof(number));
	return number;
}

static int listen_on(const struct plan *p, int ns, int ifindex)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(p->f->eth_proto),
		.sll_ifindex = ifindex,
	};
	int fd = mr_packet_socket(ns, SOCK_DGRAM);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&sll, sizeof(sll))) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* Sends count frames to the router through link i, numbered from first. */
static int send_frames(const struct router *r, int i, struct mr_frame *frame,
		       __u32 first, int count)
{
	int err = 0;

	for (; count-- && !err; first++) {
		memcpy(frame->data + frame->len - sizeof(first), &first,
		       sizeof(first));
		err = mr_packet_send(r->tx, SOCK_RAW, r->host_link[i], frame);
	}
	return err;
}

static int send_in(const struct router *r, int i, const char *group, int ttl,
		   __u32 first, int count)
{
	struct mr_frame frame;
	int err;

	err = mr_frame_udp(&frame, r->plan->f, r->plan->source, group, ttl,
			   PORT, PAYLOAD);
	return err ?: send_frames(r, i, &frame, first, count);
}

/* Once the marker arrives, the router has handled everything sent before it. */
static bool mark_is_next(const struct router *r, int i)
{
	struct packet packet;

	return receive(r->rx[i], &packet) == MARK &&
	       !strcmp(packet.dst, r->plan->mark);
}

static int mark(const struct router *r)
{
	return send_in(r, 0, r->plan->mark, TTL, MARK, 1);
}

static void expect_packets(struct __test_metadata *_metadata,
			   const struct router *r, int i, int first, int count,
			   int ttl)
{
	const struct plan *p = r->plan;
	struct packet packet;

	for (; count--; first++) {
		ASSERT_EQ(first, receive(r->rx[i], &packet));
		EXPECT_EQ(ttl, packet.ttl);
		EXPECT_EQ((int)PACKET_LEN, packet.len);
		EXPECT_STREQ(p->group, packet.dst);
	}
}

/* Returns the type of the next message to the daemon, or NOTHING. */
static int upcall(const struct router *r, int sk, struct mr_upcall *up)
{
	int ret = mr_upcall(sk, r->plan->f, MSG_DONTWAIT, up);

	return ret == -EAGAIN ? NOTHING : ret;
}

/* IPv4 only: IPv6 has no thresholds. */
static int add_mfc(const struct router *r, const char *group, int parent,
		   const unsigned char *ttls)
{
	struct mfcctl mfc = { .mfcc_parent = parent };

	mr_addr(r->plan->f, r->plan->source, &mfc.mfcc_origin);
	mr_addr(r->plan->f, group, &mfc.mfcc_mcastgrp);
	memcpy(mfc.mfcc_ttls, ttls, LINKS);
	return mr_err(setsockopt(r->sk, r->plan->f->level, MRT_ADD_MFC, &mfc,
				 sizeof(mfc)));
}

/* Gets the route to the group from the default table. */
static int get_route(const struct router *r, int flags, struct mr_route *route)
{
	return mr_route_get(r->nl, r->plan->f, flags, r->plan->source,
			    r->plan->group, r->plan->f->default_table, route);
}

FIXTURE(mroute_forward)
{
	struct router router;
};

FIXTURE_VARIANT(mroute_forward)
{
	const struct plan *plan;
};

FIXTURE_VARIANT_ADD(mroute_forward, ipv4)
{
	.plan = &ipv4,
};

FIXTURE_VARIANT_ADD(mroute_forward, ipv6)
{
	.plan = &ipv6,
};

FIXTURE_SETUP(mroute_forward)
{
	static const __u8 mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	char name[LINKS][8], peer[LINKS][8];
	cpu_set_t one;
	int i, hnl;

	if (geteuid())
		SKIP(return, "needs root");

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));

	r->plan = p;
	r->ns = mr_ns_new();
	ASSERT_LE(0, r->ns);
	r->host = mr_ns_new();
	ASSERT_LE(0, r->host);
	r->nl = mr_nl_open(r->ns);
	ASSERT_LE(0, r->nl);
	hnl = mr_nl_open(r->host);
	ASSERT_LE(0, hnl);
	r->tx = mr_packet_socket(r->host, SOCK_RAW);
	ASSERT_LE(0, r->tx);

	r->sk = mr_router(r->ns, p->f);
	if (r->sk == -ENOPROTOOPT || r->sk == -EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_IP_MROUTE or CONFIG_IPV6_MROUTE");
	ASSERT_LE(0, r->sk);
	r->raw = mr_sock(r->ns, p->f);
	ASSERT_LE(0, r->raw);
	r->tables = mr_setopt(r->raw, p->f, MRT_TABLE,
			      p->f->default_table) == 0;

	for (i = 0; i < LINKS; i++) {
		sprintf(name[i], "r%d", i);
		sprintf(peer[i], "h%d", i);
		ASSERT_EQ(0, mr_link_add_veth(r->nl, name[i], r->host, peer[i],
					      mac));
		ASSERT_EQ(0, mr_link_up(hnl, peer[i]));
		ASSERT_EQ(0, mr_link_up(r->nl, name[i]));
		ASSERT_EQ(0, mr_addr_add(hnl, p->f, peer[i], p->neighbour[i],
					 p->prefix));
		ASSERT_EQ(0, mr_addr_add(r->nl, p->f, name[i], p->router[i],
					 p->prefix));
		r->link[i] = mr_link_index(r->nl, name[i]);
		r->host_link[i] = mr_link_index(hnl, peer[i]);
		r->rx[i] = listen_on(p, r->host, r->host_link[i]);
		ASSERT_LE(0, r->rx[i]);
		ASSERT_EQ(0, mr_vif_add(r->sk, p->f, i, r->link[i]));
	}
	for (i = 0; i < LINKS; i++) {
		ASSERT_EQ(0, mr_link_wait(hnl, peer[i]));
		ASSERT_EQ(0, mr_link_wait(r->nl, name[i]));
	}
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->mark, 0,
			    1 << 1 | 1 << 2));
	close(hnl);
}

/* The namespaces go away with the sockets of this process. */
FIXTURE_TEARDOWN(mroute_forward)
{
}

/* All counters agree with the packets that were received. */
TEST_F_TIMEOUT(mroute_forward, counted, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	const unsigned long n = 5;
	struct mr_table_info info;
	struct mr_count count;
	unsigned long in, out;
	struct mr_route route;
	int i;

	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 1));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 0, n));
	ASSERT_EQ(0, mark(r));
	expect_packets(_metadata, r, 1, 0, n, TTL - 1);
	EXPECT_TRUE(mark_is_next(r, 1));
	EXPECT_TRUE(mark_is_next(r, 2));

	ASSERT_EQ(0, mr_mfc_count(r->sk, p->f, p->source, p->group, &count));
	EXPECT_EQ(n, count.packets);
	EXPECT_EQ(n * PACKET_LEN, count.bytes);
	EXPECT_EQ(0UL, count.wrong_if);

	ASSERT_EQ(0, mr_proc_count(r->ns, p->f, p->source, p->group, &count));
	EXPECT_EQ(n, count.packets);
	EXPECT_EQ(n * PACKET_LEN, count.bytes);
	EXPECT_EQ(0UL, count.wrong_if);

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(1, get_route(r, i ? NLM_F_DUMP : 0, &route));
		EXPECT_EQ(0U, route.flags & RTNH_F_UNRESOLVED);
		EXPECT_EQ(RTPROT_MROUTED, route.protocol);
		EXPECT_EQ(n, route.stats.mfcs_packets);
		EXPECT_EQ(n * PACKET_LEN, route.stats.mfcs_bytes);
		EXPECT_EQ(0UL, route.stats.mfcs_wrong_if);
	}

	/* The VIFs have counted the marker, too. */
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, mr_vif_count(r->sk, p->f, i, &count));
		EXPECT_EQ(i ? 0 : n + 1, count.packets);
		EXPECT_EQ(i ? 0 : (n + 1) * PACKET_LEN, count.bytes);
		EXPECT_EQ(i ? n + 1 : 0, count.wrong_if);

		ASSERT_EQ(0, mr_proc_vif(r->ns, p->f, i, &in, &out));
		EXPECT_EQ(i ? 0 : n + 1, in);
		EXPECT_EQ(i ? n + 1 : 0, out);

		if (p->f->family == AF_INET6)
			continue;
		ASSERT_LT(0, mr_table_get(r->nl, p->f, i, &info));
		EXPECT_EQ(i ? 0 : n + 1, info.in);
		EXPECT_EQ(i ? n + 1 : 0, info.out);
	}
}

/* A packet on the wrong VIF is counted, not forwarded. It is reported to the
 * daemon if that VIF is an output of the route, or if the daemon runs PIM.
 */
TEST_F_TIMEOUT(mroute_forward, wrong_interface, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	struct mr_count count;
	struct mr_upcall msg;

	ASSERT_EQ(0, mr_setopt(r->sk, p->f, MRT_ASSERT, 1));
	ASSERT_EQ(1, mr_getopt(r->sk, p->f, MRT_ASSERT));
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 1));
	ASSERT_EQ(0, send_in(r, 2, p->group, TTL, 0, 1));
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 1));
	EXPECT_EQ(NOTHING, upcall(r, r->sk, &msg));

	/* Send one only: reports of the same route are rate-limited. */
	ASSERT_EQ(0, send_in(r, 1, p->group, TTL, 0, 1));
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 1));
	EXPECT_TRUE(mark_is_next(r, 2));
	EXPECT_TRUE(mark_is_next(r, 2));
	ASSERT_EQ(IGMPMSG_WRONGVIF, upcall(r, r->sk, &msg));
	EXPECT_EQ(1, msg.vif);
	EXPECT_EQ(NOTHING, upcall(r, r->sk, &msg));

	ASSERT_EQ(0, mr_mfc_count(r->sk, p->f, p->source, p->group, &count));
	EXPECT_EQ(2UL, count.wrong_if);
	ASSERT_EQ(0, mr_proc_count(r->ns, p->f, p->source, p->group, &count));
	EXPECT_EQ(2UL, count.wrong_if);

	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_DEL_MFC, p->source, p->group, 0, 0));
	ASSERT_EQ(0, mr_setopt(r->sk, p->f, MRT_PIM, IGMPMSG_WRVIFWHOLE));
	ASSERT_EQ(1, mr_getopt(r->sk, p->f, MRT_PIM));
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 1));
	ASSERT_EQ(0, send_in(r, 2, p->group, TTL, 0, 1));
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 1));
	EXPECT_EQ(IGMPMSG_WRONGVIF, upcall(r, r->sk, &msg));
	EXPECT_EQ(2, msg.vif);
	EXPECT_EQ(IGMPMSG_WRVIFWHOLE, upcall(r, r->sk, &msg));
	EXPECT_EQ(2, msg.vif);
}

TEST_F_TIMEOUT(mroute_forward, ttl_threshold, TIMEOUT_S)
{
	static const unsigned char ttls[LINKS] = { 255, 10, 1 };
	const struct plan *p = variant->plan;
	struct router *r = &self->router;

	if (p->f->family == AF_INET6) {
		ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source,
				    p->group, 0, 1 << 1));
		ASSERT_EQ(0, send_in(r, 0, p->group, 1, 0, 1));
		ASSERT_EQ(0, send_in(r, 0, p->group, 2, 1, 1));
		expect_packets(_metadata, r, 1, 1, 1, 1);
		return;
	}
	ASSERT_EQ(0, add_mfc(r, p->group, 0, ttls));
	ASSERT_EQ(0, send_in(r, 0, p->group, 1, 0, 1));
	ASSERT_EQ(0, send_in(r, 0, p->group, 10, 1, 1));
	ASSERT_EQ(0, send_in(r, 0, p->group, 11, 2, 1));
	ASSERT_EQ(0, mark(r));
	expect_packets(_metadata, r, 1, 2, 1, 10);
	EXPECT_TRUE(mark_is_next(r, 1));
	expect_packets(_metadata, r, 2, 1, 1, 9);
	expect_packets(_metadata, r, 2, 2, 1, 10);
	EXPECT_TRUE(mark_is_next(r, 2));
}

/* The first four packets without a route wait for the daemon to add one. */
TEST_F_TIMEOUT(mroute_forward, unresolved, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	struct mr_table_info info;
	struct mr_count count;
	struct mr_upcall msg;
	struct mr_route route;

	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 0, 6));
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 1));

	ASSERT_EQ(IGMPMSG_NOCACHE, upcall(r, r->sk, &msg));
	EXPECT_EQ(0, msg.vif);
	EXPECT_STREQ(p->source, msg.src);
	EXPECT_STREQ(p->group, msg.dst);
	EXPECT_EQ(NOTHING, upcall(r, r->sk, &msg));

	EXPECT_EQ(-ENOENT, get_route(r, 0, &route));
	ASSERT_EQ(1, get_route(r, NLM_F_DUMP, &route));
	EXPECT_NE(0U, route.flags & RTNH_F_UNRESOLVED);
	EXPECT_EQ(0, mr_proc_count(r->ns, p->f, p->source, p->group, &count));
	EXPECT_EQ(0UL, count.packets);
	EXPECT_EQ(-EADDRNOTAVAIL, mr_mfc_count(r->sk, p->f, p->source,
					       p->group, &count));
	if (p->f->family == AF_INET) {
		ASSERT_LT(0, mr_table_get(r->nl, p->f, 0, &info));
		EXPECT_EQ(1UL, info.queue_len);
	}

	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 1));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 6, 1));
	expect_packets(_metadata, r, 1, 0, 4, TTL - 1);
	expect_packets(_metadata, r, 1, 6, 1, TTL - 1);
	ASSERT_EQ(1, get_route(r, NLM_F_DUMP, &route));
	EXPECT_EQ(0U, route.flags & RTNH_F_UNRESOLVED);
	EXPECT_EQ(5UL, route.stats.mfcs_packets);
	if (p->f->family == AF_INET) {
		ASSERT_LT(0, mr_table_get(r->nl, p->f, 0, &info));
		EXPECT_EQ(0UL, info.queue_len);
	}
}

/* An unresolved route goes away when it is flushed, or after ten seconds if no
 * daemon resolves it.
 */
TEST_F_TIMEOUT(mroute_forward, unresolved_goes, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	int i, tries = 5 * PATIENCE_MS / 100;
	struct mr_table_info info;
	struct mr_route route;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 0, 6));
		ASSERT_EQ(0, mark(r));
		ASSERT_TRUE(mark_is_next(r, 1));
		ASSERT_EQ(1, get_route(r, NLM_F_DUMP, &route));
		if (i) {
			while (get_route(r, NLM_F_DUMP, &route) && tries--)
				usleep(100000);
		} else {
			ASSERT_EQ(0, mr_setopt(r->sk, p->f, MRT_FLUSH,
					       MRT_FLUSH_MFC));
			ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC,
					    p->source, p->mark, 0, 1 << 1));
		}
		EXPECT_EQ(0, get_route(r, NLM_F_DUMP, &route));
		if (p->f->family == AF_INET6)
			continue;
		ASSERT_LT(0, mr_table_get(r->nl, p->f, 0, &info));
		EXPECT_EQ(0UL, info.queue_len);
	}
}

/* A (*,G) route accepts packets from all links of the static tree, which the
 * (*,*) route defines, and forwards them to its other outputs. Packets that
 * only match the (*,*) route go upstream, to link 0.
 */
TEST_F_TIMEOUT(mroute_forward, proxy, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	struct mr_upcall msg;

	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC_PROXY, p->any, p->any, 0,
			    1 << 0 | 1 << 1));
	ASSERT_EQ(0, send_in(r, 1, p->group, TTL, 0, 1));
	expect_packets(_metadata, r, 0, 0, 1, TTL - 1);
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 1, 1));

	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC_PROXY, p->any, p->group, 0,
			    1 << 1 | 1 << 2));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 2, 1));
	ASSERT_EQ(0, send_in(r, 1, p->group, TTL, 3, 1));
	ASSERT_EQ(0, mark(r));
	expect_packets(_metadata, r, 1, 2, 1, TTL - 1);
	EXPECT_TRUE(mark_is_next(r, 1));
	expect_packets(_metadata, r, 2, 2, 1, TTL - 1);
	expect_packets(_metadata, r, 2, 3, 1, TTL - 1);
	EXPECT_TRUE(mark_is_next(r, 2));
	EXPECT_EQ(NOTHING, upcall(r, r->sk, &msg));

	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_DEL_MFC_PROXY, p->any, p->group, 0,
			    0));
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_DEL_MFC_PROXY, p->any, p->any, 0,
			    0));
	ASSERT_EQ(0, send_in(r, 1, p->group, TTL, 4, 1));
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 2));
	EXPECT_EQ(IGMPMSG_NOCACHE, upcall(r, r->sk, &msg));
	EXPECT_EQ(1, msg.vif);
}

/* The register VIF receives the packets from inside REGISTERs and forwards
 * them. Packets that are sent to it go to the daemon as a whole.
 */
TEST_F_TIMEOUT(mroute_forward, register_vif, TIMEOUT_S)
{
	static const __u8 everyone[ETH_ALEN] = { 255, 255, 255, 255, 255, 255 };
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	int pimreg, index, fd, version, last = 1;
	struct mr_frame frame;
	struct packet packet;
	struct mr_count count = {};
	struct mr_upcall msg = {};

	ASSERT_EQ(0, mr_vif_add_register(r->sk, p->f, REGISTER_VIF));
	index = mr_link_index(r->nl, p->f->register_name);
	ASSERT_LT(0, index);
	pimreg = listen_on(p, r->ns, index);
	ASSERT_LE(0, pimreg);
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->other, p->group,
			    REGISTER_VIF, 1 << 1));

	/* The VIF is enough for PIMv2, PIMv1 also needs MRT_PIM. IPv6 has no
	 * PIMv1.
	 */
	if (p->f->family == AF_INET6) {
		last = 2;
	} else {
		ASSERT_EQ(0, mr_frame_register(&frame, p->f, 1, everyone,
					       p->source, p->router[0],
					       p->other, p->group));
		ASSERT_EQ(0, mr_packet_send(r->tx, SOCK_RAW, r->host_link[0],
					    &frame));
	}
	for (version = 2; version >= last; version--) {
		ASSERT_EQ(0, mr_frame_register(&frame, p->f, version, everyone,
					       p->source, p->router[0],
					       p->other, p->group));
		ASSERT_EQ(0, mr_packet_send(r->tx, SOCK_RAW, r->host_link[0],
					    &frame));
		ASSERT_NE(NOTHING, receive(pimreg, &packet));
		EXPECT_EQ(TTL, packet.ttl);
		EXPECT_STREQ(p->group, packet.dst);
		ASSERT_NE(NOTHING, receive(r->rx[1], &packet));
		EXPECT_EQ(TTL - 1, packet.ttl);
		EXPECT_EQ(IPPROTO_UDP, packet.protocol);
		EXPECT_STREQ(p->group, packet.dst);
		ASSERT_EQ(0, mr_vif_count(r->sk, p->f, REGISTER_VIF, &count));
		EXPECT_EQ(3UL - version, count.packets);
		ASSERT_EQ(0, mr_setopt(r->sk, p->f, MRT_PIM, 1));
	}
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 1));

	/* Forward one packet to the VIF, and send one through its device. */
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << REGISTER_VIF));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 0, 1));
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 1));
	EXPECT_EQ(IGMPMSG_WHOLEPKT, upcall(r, r->sk, &msg));
	EXPECT_EQ(REGISTER_VIF, msg.vif);

	fd = mr_packet_socket(r->ns, SOCK_DGRAM);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mr_frame_udp(&frame, p->f, p->source, p->group, TTL, PORT,
				  PAYLOAD));
	ASSERT_EQ(0, mr_packet_send(fd, SOCK_DGRAM, index, &frame));
	ASSERT_TRUE(wait_input(r->sk));
	EXPECT_EQ(IGMPMSG_WHOLEPKT, upcall(r, r->sk, &msg));

	ASSERT_EQ(0, mr_vif_del(r->sk, p->f, REGISTER_VIF));
	EXPECT_EQ(-ENODEV, mr_link_index(r->nl, p->f->register_name));
}

/* Forwards through a tunnel to the neighbour on link 1. */
TEST_F_TIMEOUT(mroute_forward, tunnel, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	struct packet packet;

	if (p->f->family == AF_INET6)
		SKIP(return, "IPv6 has no such VIFs");
	if (mr_link_index(r->nl, "tunl0") < 0)
		SKIP(return, "needs CONFIG_NET_IPIP");
	ASSERT_EQ(0, mr_vif_add_tunnel(r->sk, LINKS, p->router[1],
				       p->neighbour[1]));
	ASSERT_LT(0, mr_link_index(r->nl, "dvmrp3"));
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << LINKS));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 7, 1));
	ASSERT_EQ(7, receive(r->rx[1], &packet));
	EXPECT_EQ(IPPROTO_IPIP, packet.protocol);
	EXPECT_EQ((int)(sizeof(struct iphdr) + PACKET_LEN), packet.len);
	EXPECT_STREQ(p->neighbour[1], packet.dst);
}

/* For a packet that arrives through a VRF, the route is looked up with the
 * interface that received it. The VRF's own interface is another VIF, or IPv4
 * would not look.
 */
TEST_F_TIMEOUT(mroute_forward, vrf, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	struct mr_upcall msg;
	int ret;

	ret = mr_link_add_vrf(r->nl, "vrf", OTHER_TABLE);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "needs CONFIG_NET_VRF");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, mr_link_up(r->nl, "vrf"));
	ASSERT_EQ(0, mr_vif_add(r->sk, p->f, LINKS,
				mr_link_index(r->nl, "vrf")));
	ASSERT_EQ(0, mr_link_master(r->nl, "r0", "vrf"));

	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 0, 1));
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 1));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 1, 1));
	expect_packets(_metadata, r, 1, 0, 2, TTL - 1);
	EXPECT_EQ(IGMPMSG_NOCACHE, upcall(r, r->sk, &msg));
	EXPECT_EQ(0, msg.vif);
}

/* A rule directs packets from link 0 to another table, which forwards them to
 * another link. A rule whose table does not exist is skipped.
 */
TEST_F_TIMEOUT(mroute_forward, rule, TIMEOUT_S)
{
	struct fib_rule_hdr hdr = {
		.family = variant->plan->f->rtnl_family,
		.action = FR_ACT_TO_TBL,
	};
	const struct plan *p = variant->plan;
	struct router *r = &self->router;
	struct mr_nlreq req;
	int sk;

	if (!r->tables)
		SKIP(return, "needs CONFIG_IP_MROUTE_MULTIPLE_TABLES");

	mr_nl_begin(&req, RTM_NEWRULE, NLM_F_CREATE, &hdr, sizeof(hdr));
	mr_nl_put_u32(&req, FRA_TABLE, OTHER_TABLE);
	mr_nl_put_str(&req, FRA_IIFNAME, "r0");
	ASSERT_EQ(0, mr_nl_talk(r->nl, &req));
	ASSERT_EQ(0, mr_mfc(r->sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 1));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 0, 1));
	expect_packets(_metadata, r, 1, 0, 1, TTL - 1);

	sk = mr_sock(r->ns, p->f);
	ASSERT_LE(0, sk);
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_TABLE, OTHER_TABLE));
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_INIT, 1));
	ASSERT_EQ(0, mr_vif_add(sk, p->f, 0, r->link[0]));
	ASSERT_EQ(0, mr_vif_add(sk, p->f, 1, r->link[1]));
	ASSERT_EQ(0, mr_vif_add(sk, p->f, 2, r->link[2]));
	ASSERT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 2));
	ASSERT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source, p->mark, 0,
			    1 << 1 | 1 << 2));
	ASSERT_EQ(0, send_in(r, 0, p->group, TTL, 1, 1));
	ASSERT_EQ(0, mark(r));
	EXPECT_TRUE(mark_is_next(r, 1));
	expect_packets(_metadata, r, 2, 1, 1, TTL - 1);
	EXPECT_TRUE(mark_is_next(r, 2));
}

TEST_HARNESS_MAIN
