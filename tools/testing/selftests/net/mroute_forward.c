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
#include <linux/fib_rules.h>

#include "../kselftest_harness.h"
#include "mroute_lib.h"
#include "mroute_query.h"

/* VIF numbers after those of the links */
#define REGISTER_VIF	MR_LINKS
#define VRF_VIF		MR_LINKS

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

struct router {
	struct mr_daemon d;
	int host;		/* namespace at the other end of the links */
	int tx;
	int rx[MR_LINKS];	/* packet sockets on the host's ends */
	int host_link[MR_LINKS];
};

struct packet {
	int ttl;
	int len;
	char dst[INET6_ADDRSTRLEN];
};

/* Returns the number of the next UDP packet, or NOTHING. */
static int receive(int fd, struct packet *packet)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	__u8 buf[512];
	const struct ipv6hdr *ip6 = (void *)buf;
	const struct iphdr *ip = (void *)buf;
	int len, protocol;
	__u32 number;
	bool v6;

	do {
		if (poll(&pfd, 1, PATIENCE_MS) != 1)
			return NOTHING;
		len = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (len < (int)sizeof(*ip))
			return NOTHING;
		v6 = ip->version == 6;
		packet->len = v6 ? sizeof(*ip6) + ntohs(ip6->payload_len) :
				   ntohs(ip->tot_len);
		if (packet->len > len)
			return NOTHING;
		protocol = v6 ? ip6->nexthdr : ip->protocol;
	} while (protocol != IPPROTO_UDP);

	packet->ttl = v6 ? ip6->hop_limit : ip->ttl;
	inet_ntop(v6 ? AF_INET6 : AF_INET,
		  v6 ? (void *)&ip6->daddr : (void *)&ip->daddr, packet->dst,
		  sizeof(packet->dst));
	memcpy(&number, buf + packet->len - sizeof(number), sizeof(number));
	return number;
}

static int listen_on(const struct mr_family *f, int ns, int ifindex)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(f->eth_proto),
		.sll_ifindex = ifindex,
	};
	int fd = mr_packet_socket(ns, SOCK_DGRAM);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sll, sizeof(sll)))
		return -errno;
	return fd;
}

/* Sends count packets to the router through link i, numbered from first. */
static int send_to(const struct router *r, int i, const char *group,
		   __u32 first, int count)
{
	const struct mr_plan *p = r->d.p;
	struct mr_frame frame;
	int err;

	err = mr_frame_udp(&frame, p->f, p->source, group, TTL, PORT, PAYLOAD);
	for (; count-- && !err; first++) {
		memcpy(frame.data + frame.len - sizeof(first), &first,
		       sizeof(first));
		err = mr_packet_send(r->tx, SOCK_RAW, r->host_link[i], &frame);
	}
	return err;
}

static int send_in(const struct router *r, int i, __u32 first, int count)
{
	return send_to(r, i, r->d.p->group, first, count);
}

/* Sends a marker, and tells if it comes next on all outputs. It does after the
 * router has handled everything that was sent before.
 */
static bool nothing_else(const struct router *r)
{
	struct packet packet;
	int i;

	if (send_to(r, 0, r->d.p->other_group, MARK, 1))
		return false;
	for (i = 1; i < MR_LINKS; i++)
		if (receive(r->rx[i], &packet) != MARK ||
		    strcmp(packet.dst, r->d.p->other_group))
			return false;
	return true;
}

static void expect_packets(struct __test_metadata *_metadata,
			   const struct router *r, int i, int first, int count)
{
	const struct mr_plan *p = r->d.p;
	struct packet packet;

	for (; count--; first++) {
		ASSERT_EQ(first, receive(r->rx[i], &packet));
		EXPECT_EQ(TTL - 1, packet.ttl);
		EXPECT_EQ((int)PACKET_LEN, packet.len);
		EXPECT_STREQ(p->group, packet.dst);
	}
}

/* Returns the type of the next message to the daemon, or -EAGAIN. */
static int upcall(const struct router *r, struct mr_upcall *up)
{
	return mr_upcall(r->d.sk, r->d.p->f, MSG_DONTWAIT, up);
}

/* Adds or replaces the route from link 0 to the group. */
static int add_route(const struct router *r, __u32 oifs)
{
	const struct mr_plan *p = r->d.p;

	return mr_mfc(r->d.sk, p->f, MRT_ADD_MFC, p->source, p->group, 0, oifs);
}

/* Adds the route of the markers, to all links. */
static int add_mark_route(const struct router *r, int sk)
{
	const struct mr_plan *p = r->d.p;

	return mr_mfc(sk, p->f, MRT_ADD_MFC, p->source, p->other_group, 0,
		      1 << 1 | 1 << 2);
}

/* Gets the route to the group from the default table. */
static int get_route(const struct router *r, int flags, struct mr_route *route)
{
	const struct mr_plan *p = r->d.p;

	return mr_route_get(r->d.nl, p->f, flags, p->source, p->group,
			    p->f->default_table, route);
}

/* Returns how many routes are unresolved, or -ENOENT: IPv6 does not tell. */
static int queue_len(const struct router *r)
{
	struct mr_table_info info;
	int ret;

	if (r->d.p->f->family == AF_INET6)
		return -ENOENT;
	ret = mr_table_get(r->d.nl, r->d.p->f, 0, &info);
	return ret < 0 ? ret : (int)info.queue_len;
}

FIXTURE(mroute_forward)
{
	struct router router;
};

FIXTURE_VARIANT(mroute_forward)
{
	const struct mr_plan *p;
};

FIXTURE_VARIANT_ADD(mroute_forward, ipv4)
{
	.p = &mr_plan_ipv4,
};

FIXTURE_VARIANT_ADD(mroute_forward, ipv6)
{
	.p = &mr_plan_ipv6,
};

FIXTURE_SETUP(mroute_forward)
{
	const struct mr_plan *p = variant->p;
	struct router *r = &self->router;
	char name[8], peer[8];
	cpu_set_t one;
	int i, err, hnl;

	if (geteuid())
		SKIP(return, "needs root");

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));

	err = mr_daemon_open(&r->d, p);
	if (err == -ENOPROTOOPT || err == -EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_IP_MROUTE or CONFIG_IPV6_MROUTE");
	ASSERT_EQ(0, err);
	r->host = mr_ns_new();
	ASSERT_LE(0, r->host);
	hnl = mr_nl_open(r->host);
	ASSERT_LE(0, hnl);
	r->tx = mr_packet_socket(r->host, SOCK_RAW);
	ASSERT_LE(0, r->tx);

	for (i = 0; i < MR_LINKS; i++) {
		sprintf(name, "r%d", i);
		sprintf(peer, "h%d", i);
		ASSERT_EQ(0, mr_link_add_veth(hnl, peer, r->d.ns, name,
					      mr_router_mac));
		ASSERT_EQ(0, mr_link_up(hnl, peer));
		ASSERT_EQ(0, mr_link_up(r->d.nl, name));
		ASSERT_EQ(0, mr_addr_add(r->d.nl, p->f, name, p->router[i],
					 p->prefix));
		r->d.link[i] = mr_link_index(r->d.nl, name);
		r->host_link[i] = mr_link_index(hnl, peer);
		r->rx[i] = listen_on(p->f, r->host, r->host_link[i]);
		ASSERT_LE(0, r->rx[i]);
		ASSERT_EQ(0, mr_vif_add(r->d.sk, p->f, i, r->d.link[i]));
		ASSERT_EQ(0, mr_link_wait(hnl, peer));
		ASSERT_EQ(0, mr_link_wait(r->d.nl, name));
	}
	ASSERT_EQ(0, add_mark_route(r, r->d.sk));
	close(hnl);
}

/* The namespaces go away with the sockets of this process. */
FIXTURE_TEARDOWN(mroute_forward)
{
}

/* All counters agree with the packets that were received. */
TEST_F_TIMEOUT(mroute_forward, counted, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	struct router *r = &self->router;
	const unsigned long n = 5;
	struct mr_table_info info;
	struct mr_count count[4];
	struct mr_route route;
	int i, k;

	ASSERT_EQ(0, add_route(r, 1 << 1));
	ASSERT_EQ(0, send_in(r, 0, 0, n));
	expect_packets(_metadata, r, 1, 0, n);
	EXPECT_TRUE(nothing_else(r));

	ASSERT_EQ(0, mr_mfc_count(r->d.sk, p->f, p->source, p->group,
				  &count[0]));
	ASSERT_EQ(0, mr_proc_count(r->d.ns, p->f, p->source, p->group,
				   &count[1]));
	for (i = 2; i < 4; i++) {
		ASSERT_EQ(1, get_route(r, i == 2 ? 0 : NLM_F_DUMP, &route));
		EXPECT_EQ(0U, route.flags & RTNH_F_UNRESOLVED);
		EXPECT_EQ(RTPROT_MROUTED, route.protocol);
		count[i] = route.count;
	}
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(n, count[i].packets) {
			TH_LOG("from source %d", i);
		}
		EXPECT_EQ(n * PACKET_LEN, count[i].bytes);
		EXPECT_EQ(0UL, count[i].wrong_if);
	}

	/* The VIFs have counted the marker, too. IPv6 does not dump them. */
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, mr_vif_count(r->d.sk, i, &count[0]));
		ASSERT_EQ(0, mr_proc_vif(r->d.ns, p->f, i, &count[1]));
		if (p->f->family == AF_INET) {
			ASSERT_LT(0, mr_table_get(r->d.nl, p->f, i, &info));
			count[2] = info.count;
		}
		for (k = 0; k < (p->f->family == AF_INET ? 3 : 2); k++) {
			EXPECT_EQ(i ? 0 : n + 1, count[k].packets) {
				TH_LOG("of VIF %d, from source %d", i, k);
			}
			EXPECT_EQ(i ? 0 : (n + 1) * PACKET_LEN, count[k].bytes);
			EXPECT_EQ(i ? n + 1 : 0, count[k].wrong_if);
		}
	}
}

/* A packet on the wrong VIF is counted, not forwarded. It is reported to the
 * daemon if that VIF is an output of the route, or if the daemon runs PIM.
 */
TEST_F_TIMEOUT(mroute_forward, wrong_interface, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	struct router *r = &self->router;
	struct mr_count count;
	struct mr_upcall msg;

	ASSERT_EQ(0, mr_setopt(r->d.sk, p->f, MRT_ASSERT, 1));
	ASSERT_EQ(0, add_route(r, 1 << 1));
	ASSERT_EQ(0, send_in(r, 2, 0, 1));
	EXPECT_TRUE(nothing_else(r));
	EXPECT_EQ(-EAGAIN, upcall(r, &msg));

	/* Send one only: reports of the same route are rate-limited. */
	ASSERT_EQ(0, send_in(r, 1, 0, 1));
	EXPECT_TRUE(nothing_else(r));
	ASSERT_EQ(IGMPMSG_WRONGVIF, upcall(r, &msg));
	EXPECT_EQ(1, msg.vif);
	EXPECT_EQ(-EAGAIN, upcall(r, &msg));

	ASSERT_EQ(0, mr_mfc_count(r->d.sk, p->f, p->source, p->group, &count));
	EXPECT_EQ(2UL, count.wrong_if);
	ASSERT_EQ(0, mr_proc_count(r->d.ns, p->f, p->source, p->group, &count));
	EXPECT_EQ(2UL, count.wrong_if);

	ASSERT_EQ(0, mr_mfc(r->d.sk, p->f, MRT_DEL_MFC, p->source, p->group, 0,
			    0));
	ASSERT_EQ(0, mr_setopt(r->d.sk, p->f, MRT_PIM, IGMPMSG_WRVIFWHOLE));
	ASSERT_EQ(0, add_route(r, 1 << 1));
	ASSERT_EQ(0, send_in(r, 2, 0, 1));
	EXPECT_TRUE(nothing_else(r));
	EXPECT_EQ(IGMPMSG_WRONGVIF, upcall(r, &msg));
	EXPECT_EQ(2, msg.vif);
	EXPECT_EQ(IGMPMSG_WRVIFWHOLE, upcall(r, &msg));
	EXPECT_EQ(2, msg.vif);
}

/* The first four packets without a route wait for the daemon to add one. */
TEST_F_TIMEOUT(mroute_forward, unresolved, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	bool v4 = p->f->family == AF_INET;
	struct router *r = &self->router;
	struct mr_count count;
	struct mr_upcall msg;
	struct mr_route route;

	ASSERT_EQ(0, send_in(r, 0, 0, 6));
	EXPECT_TRUE(nothing_else(r));

	ASSERT_EQ(IGMPMSG_NOCACHE, upcall(r, &msg));
	EXPECT_EQ(0, msg.vif);
	EXPECT_STREQ(p->source, msg.src);
	EXPECT_STREQ(p->group, msg.dst);
	EXPECT_EQ(-EAGAIN, upcall(r, &msg));

	EXPECT_EQ(-ENOENT, get_route(r, 0, &route));
	ASSERT_EQ(1, get_route(r, NLM_F_DUMP, &route));
	EXPECT_NE(0U, route.flags & RTNH_F_UNRESOLVED);
	EXPECT_EQ(0, mr_proc_count(r->d.ns, p->f, p->source, p->group, &count));
	EXPECT_EQ(0UL, count.packets);
	EXPECT_EQ(-EADDRNOTAVAIL, mr_mfc_count(r->d.sk, p->f, p->source,
					       p->group, &count));
	EXPECT_EQ(v4 ? 1 : -ENOENT, queue_len(r));

	ASSERT_EQ(0, add_route(r, 1 << 1));
	ASSERT_EQ(0, send_in(r, 0, 6, 1));
	expect_packets(_metadata, r, 1, 0, 4);
	expect_packets(_metadata, r, 1, 6, 1);
	ASSERT_EQ(1, get_route(r, NLM_F_DUMP, &route));
	EXPECT_EQ(0U, route.flags & RTNH_F_UNRESOLVED);
	EXPECT_EQ(5UL, route.count.packets);
	EXPECT_EQ(v4 ? 0 : -ENOENT, queue_len(r));
}

/* An unresolved route goes away when it is flushed, or after ten seconds if no
 * daemon resolves it.
 */
TEST_F_TIMEOUT(mroute_forward, unresolved_goes, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	struct router *r = &self->router;
	int i, tries = 5 * PATIENCE_MS / 100;
	struct mr_route route;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, send_in(r, 0, 0, 6));
		ASSERT_TRUE(nothing_else(r));
		ASSERT_EQ(1, get_route(r, NLM_F_DUMP, &route));
		if (i) {
			while (get_route(r, NLM_F_DUMP, &route) && tries--)
				usleep(100000);
		} else {
			ASSERT_EQ(0, mr_setopt(r->d.sk, p->f, MRT_FLUSH,
					       MRT_FLUSH_MFC));
			ASSERT_EQ(0, add_mark_route(r, r->d.sk));
		}
		EXPECT_EQ(0, get_route(r, NLM_F_DUMP, &route));
		EXPECT_EQ(p->f->family == AF_INET ? 0 : -ENOENT, queue_len(r));
	}
}

/* The register VIF receives the packets from inside REGISTERs and forwards
 * them. Packets that are forwarded to it go to the daemon as a whole.
 */
TEST_F_TIMEOUT(mroute_forward, register_vif, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	struct router *r = &self->router;
	int last = mr_has_pim(p, 1) ? 1 : 2;
	int pimreg, index, version;
	struct mr_frame frame;
	struct packet packet;
	struct mr_count count = {};
	struct mr_upcall msg = {};

	if (!mr_has_pim(p, 2))
		SKIP(return, "needs CONFIG_IP_PIMSM_V2 or CONFIG_IPV6_PIMSM_V2");
	ASSERT_EQ(0, mr_vif_add_register(r->d.sk, p->f, REGISTER_VIF));
	index = mr_link_index(r->d.nl, p->f->register_name);
	ASSERT_LT(0, index);
	pimreg = listen_on(p->f, r->d.ns, index);
	ASSERT_LE(0, pimreg);
	ASSERT_EQ(0, mr_mfc(r->d.sk, p->f, MRT_ADD_MFC, p->other_source,
			    p->group, REGISTER_VIF, 1 << 1));

	/* The VIF is enough for PIMv2, PIMv1 also needs MRT_PIM. */
	for (version = 2; version >= last; version--) {
		ASSERT_EQ(0, mr_frame_register(&frame, p, version));
		ASSERT_EQ(0, mr_packet_send(r->tx, SOCK_RAW, r->host_link[0],
					    &frame));
		ASSERT_NE(NOTHING, receive(pimreg, &packet));
		EXPECT_EQ(TTL, packet.ttl);
		EXPECT_STREQ(p->group, packet.dst);
		ASSERT_NE(NOTHING, receive(r->rx[1], &packet));
		EXPECT_EQ(TTL - 1, packet.ttl);
		EXPECT_STREQ(p->group, packet.dst);
		ASSERT_EQ(0, mr_vif_count(r->d.sk, REGISTER_VIF, &count));
		EXPECT_EQ(3UL - version, count.packets);
		ASSERT_EQ(0, mr_setopt(r->d.sk, p->f, MRT_PIM, 1));
	}

	ASSERT_EQ(0, add_route(r, 1 << REGISTER_VIF));
	ASSERT_EQ(0, send_in(r, 0, 0, 1));
	EXPECT_TRUE(nothing_else(r));
	EXPECT_EQ(IGMPMSG_WHOLEPKT, upcall(r, &msg));
	EXPECT_EQ(REGISTER_VIF, msg.vif);
	ASSERT_EQ(0, mr_vif_count(r->d.sk, REGISTER_VIF, &count));
	EXPECT_EQ(1UL, count.wrong_if);

	ASSERT_EQ(0, mr_vif_del(r->d.sk, p->f, REGISTER_VIF));
	EXPECT_EQ(-ENODEV, mr_link_index(r->d.nl, p->f->register_name));
}

/* For a packet that arrives through a VRF, the route is looked up with the
 * interface that received it. The VRF's own interface is another VIF, or IPv4
 * would not look.
 */
TEST_F_TIMEOUT(mroute_forward, vrf, TIMEOUT_S)
{
	const __u32 table = OTHER_TABLE;
	const struct mr_plan *p = variant->p;
	struct router *r = &self->router;
	struct mr_upcall msg;
	int err, vrf;

	err = mr_link_add(r->d.nl, "vrf", "vrf", &table);
	if (err == -EOPNOTSUPP)
		SKIP(return, "needs CONFIG_NET_VRF");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, mr_link_up(r->d.nl, "vrf"));
	vrf = mr_link_index(r->d.nl, "vrf");
	ASSERT_EQ(0, mr_vif_add(r->d.sk, p->f, VRF_VIF, vrf));
	ASSERT_EQ(0, mr_link_set(r->d.nl, "r0", IFLA_MASTER, vrf));

	ASSERT_EQ(0, send_in(r, 0, 0, 1));
	ASSERT_EQ(0, add_route(r, 1 << 1));
	ASSERT_EQ(0, send_in(r, 0, 1, 1));
	expect_packets(_metadata, r, 1, 0, 2);
	EXPECT_EQ(IGMPMSG_NOCACHE, upcall(r, &msg));
	EXPECT_EQ(0, msg.vif);
}

/* A rule directs packets from link 0 to another table, which forwards them to
 * another link. A rule whose table does not exist is skipped.
 */
TEST_F_TIMEOUT(mroute_forward, rule, TIMEOUT_S)
{
	struct fib_rule_hdr hdr = {
		.family = variant->p->f->rtnl_family,
		.action = FR_ACT_TO_TBL,
	};
	const struct mr_plan *p = variant->p;
	struct router *r = &self->router;
	struct mr_nlreq req;
	int i, sk;

	if (!mr_has_tables(r->d.raw, p->f))
		SKIP(return, "needs CONFIG_IP_MROUTE_MULTIPLE_TABLES");

	mr_nl_begin(&req, RTM_NEWRULE, NLM_F_CREATE, &hdr, sizeof(hdr));
	mr_nl_put_u32(&req, FRA_TABLE, OTHER_TABLE);
	mr_nl_put_str(&req, FRA_IIFNAME, "r0");
	ASSERT_EQ(0, mr_nl_talk(r->d.nl, &req));
	ASSERT_EQ(0, add_route(r, 1 << 1));
	ASSERT_EQ(0, send_in(r, 0, 0, 1));
	expect_packets(_metadata, r, 1, 0, 1);

	sk = mr_sock(r->d.ns, p->f);
	ASSERT_LE(0, sk);
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_TABLE, OTHER_TABLE));
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_INIT, 1));
	for (i = 0; i < MR_LINKS; i++)
		ASSERT_EQ(0, mr_vif_add(sk, p->f, i, r->d.link[i]));
	ASSERT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source, p->group, 0,
			    1 << 2));
	ASSERT_EQ(0, add_mark_route(r, sk));
	ASSERT_EQ(0, send_in(r, 0, 1, 1));
	expect_packets(_metadata, r, 2, 1, 1);
	EXPECT_TRUE(nothing_else(r));
}

TEST_HARNESS_MAIN
