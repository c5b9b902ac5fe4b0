// SPDX-License-Identifier: GPL-2.0
/*
 * Tests the results of multicast routing's socket options, ioctls and netlink
 * messages, above all their errors: a changed errno or length breaks a daemon.
 * Also tests what goes away with a daemon and what MRT_FLUSH removes, and what
 * listeners are told. Sends no packets.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mroute_lib.h"
#include "mroute_query.h"

#define STATIC_VIF	0
#define DYNAMIC_VIF	1
#define REGISTER_VIF	2
#define OTHER_TABLE	100
#define NO_TABLE	101

/* Enough for a slow and busy machine. */
#define TIMEOUT_S	240

/* What MRT_FLUSH can remove. */
enum { VIF, VIF_STATIC, MFC, MFC_STATIC, THINGS };

#define ALL_THINGS	((1 << THINGS) - 1)

/* Adds one of each thing. */
static int fill(const struct mr_daemon *d)
{
	const struct mr_plan *p = d->p;
	int ret;

	ret = mr_vif_add(d->raw, p->f, STATIC_VIF, d->link[0]);
	ret = ret ?: mr_vif_add(d->sk, p->f, DYNAMIC_VIF, d->link[1]);
	ret = ret ?: mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source, p->group,
			    DYNAMIC_VIF, 1 << STATIC_VIF);
	return ret ?: mr_mfc(d->raw, p->f, MRT_ADD_MFC, p->source,
			     p->other_group, STATIC_VIF, 1 << DYNAMIC_VIF);
}

/* Returns the protocol of the only route to the group, or 0. */
static int find_route(const struct mr_daemon *d, int flags, const char *group,
		      __u32 table)
{
	struct mr_route route;
	int ret;

	ret = mr_route_get(d->nl, d->p->f, flags, d->p->source, group, table,
			   &route);
	return ret < 0 ? ret : ret == 1 ? route.protocol : 0;
}

static bool is_there(const struct mr_daemon *d, int thing)
{
	__u32 table = d->p->f->default_table;
	struct mr_count count;

	if (thing == VIF || thing == VIF_STATIC)
		return !mr_vif_count(d->raw, thing == VIF ? DYNAMIC_VIF :
							    STATIC_VIF, &count);
	if (thing == MFC)
		return find_route(d, NLM_F_DUMP, d->p->group, table) ==
		       RTPROT_MROUTED;
	return find_route(d, NLM_F_DUMP, d->p->other_group, table) ==
	       RTPROT_STATIC;
}

static int setopt_len(const struct mr_daemon *d, int opt, const void *val,
		      socklen_t len)
{
	return mr_err(setsockopt(d->sk, d->p->f->level, opt, val, len));
}

/* Sends RTM_NEWROUTE or RTM_DELROUTE for the static MFC. */
static int netlink_mfc(const struct mr_daemon *d, int type, __u32 table)
{
	int flags = type == RTM_NEWROUTE ? NLM_F_CREATE : 0;
	struct mr_nlreq req;
	struct rtmsg *rtm = NLMSG_DATA(&req.nh);

	if (mr_route_begin(&req, type, flags, d->p->f, d->p->source,
			   d->p->other_group, table))
		return -EINVAL;
	rtm->rtm_protocol = RTPROT_STATIC;
	rtm->rtm_type = RTN_MULTICAST;
	mr_nl_put_u32(&req, RTA_IIF, d->link[0]);
	return mr_nl_talk(d->nl, &req);
}

/* Returns the number of routes in a dump of one table. */
static int dump_table(const struct mr_daemon *d, __u32 table)
{
	struct rtmsg rtm = { .rtm_family = d->p->f->rtnl_family };
	struct mr_nlreq req;
	int one = 1;

	if (setsockopt(d->nl, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one,
		       sizeof(one)))
		return -errno;
	mr_nl_begin(&req, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
	mr_nl_put_u32(&req, RTA_TABLE, table);
	return mr_nl_query(d->nl, &req, NULL, NULL);
}

/* Opens a socket that is told of links and of multicast routes. */
static int listener(const struct mr_daemon *d)
{
	int link = RTNLGRP_LINK;
	int route = d->p->f->family == AF_INET ? RTNLGRP_IPV4_MROUTE :
						 RTNLGRP_IPV6_MROUTE;
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int nl = mr_nl_open(d->ns);

	/* The kernel sends from port 0, and skips whoever has that port. */
	if (nl < 0 || bind(nl, (struct sockaddr *)&addr, sizeof(addr)) ||
	    setsockopt(nl, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &link,
		       sizeof(link)) ||
	    setsockopt(nl, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &route,
		       sizeof(route)))
		return -errno;
	return nl;
}

/* Returns what a listener was told since the last time, in its order: R for a
 * route that came, r for one that went, l for the link @index that went.
 */
static const char *told(int nl, int index)
{
	const struct ifinfomsg *ifi;
	static char text[64];
	struct nlmsghdr *nh;
	unsigned int left;
	__u32 buf[4096];
	size_t n = 0;
	int len;

	while ((len = mr_err(recv(nl, buf, sizeof(buf), MSG_DONTWAIT))) > 0) {
		left = len;
		for (nh = (void *)buf; NLMSG_OK(nh, left);
		     nh = NLMSG_NEXT(nh, left)) {
			ifi = NLMSG_DATA(nh);
			if (n == sizeof(text) - 1)
				return "too much";
			if (nh->nlmsg_type == RTM_NEWROUTE)
				text[n++] = 'R';
			else if (nh->nlmsg_type == RTM_DELROUTE)
				text[n++] = 'r';
			else if (nh->nlmsg_type == RTM_DELLINK &&
				 ifi->ifi_index == index)
				text[n++] = 'l';
		}
	}
	text[n] = 0;
	return len == -EAGAIN ? text : strerror(-len);
}

FIXTURE(mroute_options)
{
	struct mr_daemon d;
	bool tables;		/* CONFIG_IP_MROUTE_MULTIPLE_TABLES */
	void *hole;		/* inaccessible, for EFAULT */
};

FIXTURE_VARIANT(mroute_options)
{
	const struct mr_plan *p;
};

FIXTURE_VARIANT_ADD(mroute_options, ipv4)
{
	.p = &mr_plan_ipv4,
};

FIXTURE_VARIANT_ADD(mroute_options, ipv6)
{
	.p = &mr_plan_ipv6,
};

FIXTURE_SETUP(mroute_options)
{
	struct mr_daemon *d = &self->d;
	char name[8];
	int i, err;

	if (geteuid())
		SKIP(return, "needs root");
	d->p = variant->p;
	err = mr_daemon_open(d, d->p);
	if (err == -ENOPROTOOPT || err == -EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_IP_MROUTE or CONFIG_IPV6_MROUTE");
	ASSERT_EQ(0, err);
	self->tables = mr_has_tables(d->raw, d->p->f);

	for (i = 0; i < 2; i++) {
		sprintf(name, "d%d", i);
		ASSERT_EQ(0, mr_link_add(d->nl, name, "dummy", NULL));
		ASSERT_EQ(0, mr_link_up(d->nl, name));
		d->link[i] = mr_link_index(d->nl, name);
	}
	self->hole = mmap(NULL, getpagesize(), PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->hole);
}

/* The namespace goes away with the sockets of this process. */
FIXTURE_TEARDOWN(mroute_options)
{
}

TEST_F_TIMEOUT(mroute_options, getsockopt, TIMEOUT_S)
{
	static const struct {
		int len, want, new_len;
		bool hole;
	} tests[] = {
		{ .len = 8, .new_len = sizeof(int) },
		{ .len = 1, .new_len = 1 },
		{ .len = 0, .new_len = 0, .hole = true },
		{ .len = -1, .new_len = -1, .want = -EINVAL },
		{ .len = 4, .new_len = 4, .want = -EFAULT, .hole = true },
	};
	const struct mr_family *f = variant->p->f;
	struct mr_daemon *d = &self->d;
	unsigned char buf[8];
	socklen_t len;
	int err, on, sk;
	void *to;
	size_t i;

	EXPECT_EQ(0x0305, mr_getopt(d->raw, f, MRT_VERSION));
	for (on = 0; on < 2; on++) {
		ASSERT_EQ(0, mr_setopt(d->sk, f, MRT_PIM, on));
		EXPECT_EQ(on, mr_getopt(d->raw, f, MRT_PIM));
		EXPECT_EQ(on, mr_getopt(d->raw, f, MRT_ASSERT));
	}
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		memset(buf, 0xaa, sizeof(buf));
		len = tests[i].len;
		to = tests[i].hole ? self->hole : buf;
		err = mr_err(getsockopt(d->raw, f->level, MRT_ASSERT, to,
					&len));
		EXPECT_EQ(tests[i].want, err) {
			TH_LOG("test %zu", i);
		}
		EXPECT_EQ(tests[i].new_len, (int)len);
		EXPECT_EQ(0xaa, buf[len % sizeof(buf)]);
	}
	EXPECT_EQ(-EFAULT, mr_err(getsockopt(d->raw, f->level, MRT_ASSERT, buf,
					     self->hole)));
	EXPECT_EQ(-ENOPROTOOPT, mr_getopt(d->raw, f, MRT_ADD_VIF));

	sk = mr_socket(d->ns, f->family, SOCK_RAW, IPPROTO_UDP);
	ASSERT_LE(0, sk);
	EXPECT_EQ(-EOPNOTSUPP, mr_getopt(sk, f, MRT_VERSION));
	EXPECT_EQ(-EOPNOTSUPP, mr_setopt(sk, f, MRT_INIT, 1));
	close(sk);
}

TEST_F_TIMEOUT(mroute_options, setsockopt, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	struct mr_daemon *d = &self->d;
	bool v6 = p->f->family == AF_INET6;
	int mfc = v6 ? sizeof(struct mf6cctl) : sizeof(struct mfcctl);
	const struct {
		int opt, size;
	} opts[] = {
		{ MRT_FLUSH, sizeof(int) },
		{ MRT_ASSERT, sizeof(int) },
		{ MRT_PIM, sizeof(int) },
		{ MRT_ADD_VIF, v6 ? sizeof(struct mif6ctl) :
				    sizeof(struct vifctl) },
		{ MRT_DEL_VIF, v6 ? sizeof(mifi_t) : sizeof(struct vifctl) },
		{ MRT_ADD_MFC, mfc },
		{ MRT_DEL_MFC, mfc },
		{ MRT_ADD_MFC_PROXY, mfc },
		{ MRT_DEL_MFC_PROXY, mfc },
		{ MRT_TABLE, sizeof(int) },
	};
	char room[256] = {};
	int i;

	for (i = 0; i < (self->tables ? 10 : 9); i++) {
		EXPECT_EQ(-EINVAL, setopt_len(d, opts[i].opt, room,
					      opts[i].size - 1)) {
			TH_LOG("option %d", opts[i].opt);
		}
		EXPECT_EQ(-EFAULT, setopt_len(d, opts[i].opt, self->hole,
					      opts[i].size)) {
			TH_LOG("option %d", opts[i].opt);
		}
	}
	EXPECT_EQ(-EINVAL, setopt_len(d, MRT_INIT, "", 1));
	EXPECT_EQ(-ENOPROTOOPT, mr_setopt(d->sk, p->f, MRT_VERSION, 1));

	EXPECT_EQ(-ENFILE, mr_vif_add(d->sk, p->f, MAXVIFS, d->link[0]));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_vif_add(d->sk, p->f, 0, 9999));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_vif_del(d->sk, p->f, 0));
	EXPECT_EQ(-ENFILE, mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source,
				  p->group, MAXVIFS, 0));
	EXPECT_EQ(-EINVAL, mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source,
				  p->router[0], 0, 0));

	ASSERT_EQ(0, fill(d));
	EXPECT_EQ(-EADDRINUSE, mr_vif_add(d->sk, p->f, STATIC_VIF,
					  d->link[1]));
	ASSERT_EQ(0, mr_vif_add_register(d->sk, p->f, REGISTER_VIF));
	EXPECT_EQ(-EADDRINUSE,
		  mr_vif_add_register(d->sk, p->f, REGISTER_VIF + 1));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(i ? -ENOENT : 0, mr_mfc(d->sk, p->f, MRT_DEL_MFC,
						  p->source, p->group, 0, 0));
}

TEST_F_TIMEOUT(mroute_options, ioctls, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	struct mr_daemon *d = &self->d;
	struct mr_count count;
	int raw = d->raw;

	EXPECT_EQ(-EFAULT, mr_err(ioctl(raw, SIOCGETVIFCNT, self->hole)));
	EXPECT_EQ(-EFAULT, mr_err(ioctl(raw, SIOCGETSGCNT, self->hole)));
	EXPECT_EQ(-ENOTTY, mr_err(ioctl(raw, SIOCGETRPF, &count)));
	EXPECT_EQ(-EINVAL, mr_vif_count(raw, 0, &count));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_mfc_count(raw, p->f, p->source, p->group,
					       &count));

	ASSERT_EQ(0, fill(d));
	EXPECT_EQ(0, mr_vif_count(raw, DYNAMIC_VIF, &count));
	EXPECT_EQ(0, mr_mfc_count(raw, p->f, p->source, p->group, &count));
	ASSERT_EQ(0, mr_vif_del(d->sk, p->f, STATIC_VIF));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_vif_count(raw, STATIC_VIF, &count));
	EXPECT_EQ(-EINVAL, mr_vif_count(raw, DYNAMIC_VIF + 1, &count));
}

TEST_F_TIMEOUT(mroute_options, flush, TIMEOUT_S)
{
	static const int flag[THINGS] = {
		[VIF]		= MRT_FLUSH_VIFS,
		[VIF_STATIC]	= MRT_FLUSH_VIFS_STATIC,
		[MFC]		= MRT_FLUSH_MFC,
		[MFC_STATIC]	= MRT_FLUSH_MFC_STATIC,
	};
	const struct mr_family *f = variant->p->f;
	struct mr_daemon *d = &self->d;
	int flags, thing;

	for (flags = 0; flags < 1 << THINGS; flags++) {
		ASSERT_EQ(0, mr_setopt(d->sk, f, MRT_FLUSH, ALL_THINGS));
		ASSERT_EQ(0, fill(d));
		ASSERT_EQ(0, mr_setopt(d->sk, f, MRT_FLUSH, flags));
		for (thing = 0; thing < THINGS; thing++)
			EXPECT_EQ(!(flags & flag[thing]), is_there(d, thing)) {
				TH_LOG("flags %d, thing %d", flags, thing);
			}
	}
}

/* Dynamic VIFs and routes go away with their daemon, whether it calls MRT_DONE
 * or just closes its socket. Then the next daemon can start.
 */
TEST_F_TIMEOUT(mroute_options, daemon, TIMEOUT_S)
{
	const struct mr_family *f = variant->p->f;
	struct mr_daemon *d = &self->d;
	int closes, thing;

	for (closes = 0; closes < 2; closes++) {
		ASSERT_EQ(0, fill(d));
		ASSERT_EQ(0, mr_vif_add_register(d->sk, f, REGISTER_VIF));
		ASSERT_LT(0, mr_link_index(d->nl, f->register_name));
		EXPECT_EQ(-EADDRINUSE, mr_setopt(d->raw, f, MRT_INIT, 1));
		EXPECT_EQ(-EADDRINUSE, mr_setopt(d->sk, f, MRT_INIT, 1));
		EXPECT_EQ(-EACCES, mr_setopt(d->raw, f, MRT_DONE, 1));

		if (closes) {
			close(d->sk);
			d->sk = mr_sock(d->ns, f);
			ASSERT_LE(0, d->sk);
		} else {
			ASSERT_EQ(0, mr_setopt(d->sk, f, MRT_DONE, 1));
			EXPECT_EQ(-EACCES, mr_setopt(d->sk, f, MRT_DONE, 1));
		}
		EXPECT_EQ(-ENODEV, mr_link_index(d->nl, f->register_name));
		for (thing = 0; thing < THINGS; thing++)
			EXPECT_EQ(thing == VIF_STATIC || thing == MFC_STATIC,
				  is_there(d, thing)) {
				TH_LOG("thing %d", thing);
			}

		ASSERT_EQ(0, mr_setopt(d->sk, f, MRT_INIT, 1));
		ASSERT_EQ(0, mr_setopt(d->sk, f, MRT_FLUSH, ALL_THINGS));
	}
}

/* Listeners are told of each route once, and that it goes before they are told
 * that the register VIF's device goes, in each of the three ways to end them.
 */
TEST_F_TIMEOUT(mroute_options, notifications, TIMEOUT_S)
{
	enum { FLUSH, DONE, CLOSE, WAYS };
	const struct mr_plan *p = variant->p;
	struct mr_daemon *d = &self->d;
	int nl, index, way, sk = d->sk;

	nl = listener(d);
	ASSERT_LE(0, nl);
	ASSERT_EQ(0, mr_vif_add(d->raw, p->f, STATIC_VIF, d->link[0]));
	for (way = 0; way < WAYS; way++) {
		ASSERT_EQ(0, mr_vif_add(sk, p->f, DYNAMIC_VIF, d->link[1]));
		ASSERT_EQ(0, mr_vif_add_register(sk, p->f, REGISTER_VIF));
		index = mr_link_index(d->nl, p->f->register_name);
		ASSERT_LT(0, index);
		ASSERT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source, p->group,
				    DYNAMIC_VIF, 1 << STATIC_VIF));
		ASSERT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source,
				    p->other_group, REGISTER_VIF,
				    1 << DYNAMIC_VIF));
		EXPECT_STREQ("RR", told(nl, index));

		if (way == FLUSH) {
			ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_FLUSH,
					       MRT_FLUSH_VIFS | MRT_FLUSH_MFC));
		} else if (way == DONE) {
			ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_DONE, 1));
			ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_INIT, 1));
		} else {
			close(sk);
		}
		EXPECT_STREQ("rrl", told(nl, index)) {
			TH_LOG("way %d", way);
		}
	}
	close(nl);
}

/* A kernel with a single table uses it for every table number. IPv6 has no
 * RTM_NEWROUTE for multicast routes.
 */
TEST_F_TIMEOUT(mroute_options, absent_table, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	__u32 table = p->f->default_table;
	struct mr_daemon *d = &self->d;
	int err = self->tables ? -ENOENT : 0;
	int left = 2;

	ASSERT_EQ(0, fill(d));
	EXPECT_EQ(RTPROT_MROUTED, find_route(d, 0, p->group, table));
	EXPECT_EQ(err, find_route(d, 0, p->group, NO_TABLE));
	if (p->f->family == AF_INET) {
		EXPECT_EQ(0, netlink_mfc(d, RTM_DELROUTE, table));
		EXPECT_FALSE(is_there(d, MFC_STATIC));
		EXPECT_EQ(-ENOENT, netlink_mfc(d, RTM_DELROUTE, table));
		EXPECT_EQ(0, netlink_mfc(d, RTM_NEWROUTE, table));
		EXPECT_TRUE(is_there(d, MFC_STATIC));
		EXPECT_EQ(err, netlink_mfc(d, RTM_NEWROUTE, NO_TABLE));
		EXPECT_EQ(err, netlink_mfc(d, RTM_DELROUTE, NO_TABLE));
		left = self->tables ? 2 : 1;
	}
	EXPECT_EQ(left, dump_table(d, table));
	EXPECT_EQ(self->tables ? -ENOENT : left, dump_table(d, NO_TABLE));
}

/* Two daemons, each with its own table. */
TEST_F_TIMEOUT(mroute_options, tables, TIMEOUT_S)
{
	const struct mr_plan *p = variant->p;
	struct mr_daemon *d = &self->d;
	struct mr_table_info info;
	char name[IFNAMSIZ];
	int sk;

	if (!self->tables) {
		EXPECT_EQ(-ENOPROTOOPT, mr_setopt(d->raw, p->f, MRT_TABLE,
						  OTHER_TABLE));
		return;
	}

	sk = mr_sock(d->ns, p->f);
	ASSERT_LE(0, sk);
	EXPECT_EQ(-EBUSY, mr_setopt(d->sk, p->f, MRT_TABLE, OTHER_TABLE));
	EXPECT_EQ(-EINVAL, mr_setopt(sk, p->f, MRT_TABLE, 1000000000));
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_TABLE, OTHER_TABLE));
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_INIT, 1));
	EXPECT_EQ(-EBUSY, mr_setopt(sk, p->f, MRT_TABLE, OTHER_TABLE + 1));

	ASSERT_EQ(0, fill(d));
	ASSERT_EQ(0, mr_vif_add(sk, p->f, 0, d->link[0]));
	ASSERT_EQ(0, mr_vif_add_register(sk, p->f, 1));
	snprintf(name, sizeof(name), "%s%d", p->f->register_name, OTHER_TABLE);
	EXPECT_LT(0, mr_link_index(d->nl, name));
	EXPECT_EQ(-ENOENT, find_route(d, 0, p->group, OTHER_TABLE));
	ASSERT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source, p->group, 0, 0));
	EXPECT_EQ(RTPROT_MROUTED, find_route(d, 0, p->group, OTHER_TABLE));
	EXPECT_EQ(RTPROT_MROUTED, find_route(d, NLM_F_DUMP, p->group,
					     OTHER_TABLE));
	EXPECT_TRUE(is_there(d, MFC));

	close(sk);
	EXPECT_EQ(-ENODEV, mr_link_index(d->nl, name));
	EXPECT_EQ(-ENOENT, find_route(d, 0, p->group, OTHER_TABLE));
	if (p->f->family == AF_INET)
		EXPECT_EQ(2, mr_table_get(d->nl, p->f, 0, &info));
	EXPECT_TRUE(is_there(d, MFC));
}

TEST_HARNESS_MAIN
