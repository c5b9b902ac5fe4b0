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

struct plan {
	const struct mr_family *f;
	const char *source;
	const char *group;
	const char *static_group;
	const char *unicast;
	int version;
};

static const struct plan ipv4 = {
	.f		= &mr_ipv4,
	.source		= "10.0.0.9",
	.group		= "239.1.1.1",
	.static_group	= "239.1.1.2",
	.unicast	= "10.1.1.1",
	.version	= 0x0305,
};

static const struct plan ipv6 = {
	.f		= &mr_ipv6,
	.source		= "fd00::9",
	.group		= "ff15::1",
	.static_group	= "ff15::2",
	.unicast	= "fd00::1",
	.version	= 0x0305,
};

struct daemon {
	const struct plan *plan;
	int ns;
	int nl;
	int sk;			/* the daemon's socket */
	int raw;		/* a second one: its VIFs and MFCs are static */
	int link[2];
	bool tables;		/* CONFIG_IP_MROUTE_MULTIPLE_TABLES */
	void *hole;		/* inaccessible, for EFAULT */
};

/* Adds one of each thing. */
static int fill(const struct daemon *d)
{
	const struct plan *p = d->plan;
	int ret;

	ret = mr_vif_add(d->raw, p->f, STATIC_VIF, d->link[0]);
	ret = ret ?: mr_vif_add(d->sk, p->f, DYNAMIC_VIF, d->link[1]);
	ret = ret ?: mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source, p->group,
			    DYNAMIC_VIF, 1 << STATIC_VIF);
	return ret ?: mr_mfc(d->raw, p->f, MRT_ADD_MFC, p->source,
			     p->static_group, STATIC_VIF, 1 << DYNAMIC_VIF);
}

static bool is_there(const struct daemon *d, int thing)
{
	const struct plan *p = d->plan;
	struct mr_route route;
	struct mr_count count;

	switch (thing) {
	case VIF:
		return !mr_vif_count(d->raw, p->f, DYNAMIC_VIF, &count);
	case VIF_STATIC:
		return !mr_vif_count(d->raw, p->f, STATIC_VIF, &count);
	case MFC:
		return mr_route_get(d->nl, p->f, NLM_F_DUMP, p->source,
				    p->group, p->f->default_table, &route) == 1 &&
		       route.protocol == RTPROT_MROUTED;
	default:
		return mr_route_get(d->nl, p->f, NLM_F_DUMP, p->source,
				    p->static_group, p->f->default_table,
				    &route) == 1 &&
		       route.protocol == RTPROT_STATIC;
	}
}

static int getopt_len(const struct daemon *d, int sk, int opt, void *val,
		      socklen_t *len)
{
	return mr_err(getsockopt(sk, d->plan->f->level, opt, val, len));
}

static int setopt_len(const struct daemon *d, int opt, const void *val,
		      socklen_t len)
{
	return mr_err(setsockopt(d->sk, d->plan->f->level, opt, val, len));
}

/* Sends RTM_NEWROUTE or RTM_DELROUTE for a static MFC. */
static int netlink_mfc(const struct daemon *d, int type, __u32 table)
{
	const struct mr_family *f = d->plan->f;
	struct rtmsg rtm = {
		.rtm_family = f->rtnl_family,
		.rtm_dst_len = f->addr_len * 8,
		.rtm_src_len = f->addr_len * 8,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_MULTICAST,
	};
	struct mr_nlreq req;
	__u8 src[16], dst[16];

	if (mr_addr(f, d->plan->source, src) ||
	    mr_addr(f, d->plan->static_group, dst))
		return -EINVAL;
	mr_nl_begin(&req, type, type == RTM_NEWROUTE ? NLM_F_CREATE : 0, &rtm,
		    sizeof(rtm));
	mr_nl_put(&req, RTA_SRC, src, f->addr_len);
	mr_nl_put(&req, RTA_DST, dst, f->addr_len);
	mr_nl_put_u32(&req, RTA_IIF, d->link[0]);
	mr_nl_put_u32(&req, RTA_TABLE, table);
	return mr_nl_talk(d->nl, &req);
}

/* Returns the number of routes in a dump of one table. */
static int dump_table(const struct daemon *d, __u32 table)
{
	struct rtmsg rtm = { .rtm_family = d->plan->f->rtnl_family };
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
static int listener(const struct daemon *d)
{
	int group[] = {
		RTNLGRP_LINK,
		d->plan->f->family == AF_INET ? RTNLGRP_IPV4_MROUTE :
						RTNLGRP_IPV6_MROUTE,
	};
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int nl = mr_nl_open(d->ns);
	int i;

	/* The kernel sends from port 0, and skips whoever has that port. */
	if (nl < 0 || bind(nl, (struct sockaddr *)&addr, sizeof(addr)))
		return nl < 0 ? nl : -errno;
	for (i = 0; i < 2; i++)
		if (setsockopt(nl, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
			       &group[i], sizeof(group[i])))
			return -errno;
	return nl;
}

/* Returns what a listener was told since the last time, in its order: R for a
 * route that came, r for one that went, l for the link @index that went.
 */
static const char *told(const struct daemon *d, int nl, int index)
{
	const struct ifinfomsg *ifi;
	const struct rtmsg *rtm;
	static char text[64];
	struct nlmsghdr *nh;
	__u32 buf[4096];
	unsigned int left;
	size_t n = 0;
	int len;

	for (;;) {
		len = mr_err(recv(nl, buf, sizeof(buf), MSG_DONTWAIT));
		if (len <= 0)
			break;
		left = len;
		for (nh = (void *)buf; NLMSG_OK(nh, left);
		     nh = NLMSG_NEXT(nh, left)) {
			ifi = NLMSG_DATA(nh);
			rtm = NLMSG_DATA(nh);
			if (n == sizeof(text) - 1)
				return "too much";
			if (nh->nlmsg_type == RTM_DELLINK &&
			    ifi->ifi_family == AF_UNSPEC &&
			    ifi->ifi_index == index)
				text[n++] = 'l';
			if (nh->nlmsg_type == RTM_NEWROUTE &&
			    rtm->rtm_family == d->plan->f->rtnl_family)
				text[n++] = 'R';
			if (nh->nlmsg_type == RTM_DELROUTE &&
			    rtm->rtm_family == d->plan->f->rtnl_family)
				text[n++] = 'r';
		}
	}
	text[n] = 0;
	return len == -EAGAIN ? text : strerror(-len);
}

FIXTURE(mroute_options)
{
	struct daemon daemon;
};

FIXTURE_VARIANT(mroute_options)
{
	const struct plan *plan;
};

FIXTURE_VARIANT_ADD(mroute_options, ipv4)
{
	.plan = &ipv4,
};

FIXTURE_VARIANT_ADD(mroute_options, ipv6)
{
	.plan = &ipv6,
};

FIXTURE_SETUP(mroute_options)
{
	const struct mr_family *f = variant->plan->f;
	struct daemon *d = &self->daemon;
	char name[8];
	int i;

	if (geteuid())
		SKIP(return, "needs root");
	d->plan = variant->plan;
	d->ns = mr_ns_new();
	ASSERT_LE(0, d->ns);
	d->nl = mr_nl_open(d->ns);
	ASSERT_LE(0, d->nl);
	d->sk = mr_router(d->ns, f);
	if (d->sk == -ENOPROTOOPT || d->sk == -EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_IP_MROUTE or CONFIG_IPV6_MROUTE");
	ASSERT_LE(0, d->sk);
	d->raw = mr_sock(d->ns, f);
	ASSERT_LE(0, d->raw);
	d->tables = !mr_setopt(d->raw, f, MRT_TABLE, f->default_table);

	for (i = 0; i < 2; i++) {
		sprintf(name, "d%d", i);
		ASSERT_EQ(0, mr_link_add(d->nl, name, "dummy", NULL));
		ASSERT_EQ(0, mr_link_up(d->nl, name));
		d->link[i] = mr_link_index(d->nl, name);
	}
	d->hole = mmap(NULL, getpagesize(), PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, d->hole);
}

/* The namespace goes away with the sockets of this process. */
FIXTURE_TEARDOWN(mroute_options)
{
}

TEST_F_TIMEOUT(mroute_options, getsockopt, TIMEOUT_S)
{
	static const int opts[] = { MRT_VERSION, MRT_PIM, MRT_ASSERT };
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	socklen_t len;
	int i, sk;
	union {
		int val;
		unsigned char bytes[8];
	} buf;

	EXPECT_EQ(p->version, mr_getopt(d->raw, p->f, MRT_VERSION));
	EXPECT_EQ(0, mr_getopt(d->raw, p->f, MRT_PIM));
	EXPECT_EQ(0, mr_getopt(d->raw, p->f, MRT_ASSERT));
	ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_PIM, 1));
	EXPECT_EQ(1, mr_getopt(d->raw, p->f, MRT_PIM));
	EXPECT_EQ(1, mr_getopt(d->raw, p->f, MRT_ASSERT));

	for (i = 0; i < 3; i++) {
		memset(&buf, 0xaa, sizeof(buf));
		len = sizeof(buf);
		EXPECT_EQ(0, getopt_len(d, d->raw, opts[i], &buf, &len));
		EXPECT_EQ(sizeof(int), len);
		EXPECT_EQ(i ? 1 : p->version, buf.val);
		EXPECT_EQ(0xaa, buf.bytes[sizeof(int)]);

		memset(&buf, 0xaa, sizeof(buf));
		len = 1;
		EXPECT_EQ(0, getopt_len(d, d->raw, opts[i], &buf, &len));
		EXPECT_EQ(1U, len);
		EXPECT_EQ(0xaa, buf.bytes[1]);

		len = 0;
		EXPECT_EQ(0, getopt_len(d, d->raw, opts[i], d->hole, &len));
		EXPECT_EQ(0U, len);
		len = -1;
		EXPECT_EQ(-EINVAL, getopt_len(d, d->raw, opts[i], &buf, &len));
		len = sizeof(int);
		EXPECT_EQ(-EFAULT,
			  getopt_len(d, d->raw, opts[i], d->hole, &len));
		EXPECT_EQ(-EFAULT,
			  getopt_len(d, d->raw, opts[i], &buf, d->hole));
	}
	EXPECT_EQ(-ENOPROTOOPT, mr_getopt(d->raw, p->f, MRT_ADD_VIF));

	sk = mr_socket(d->ns, p->f->family, SOCK_RAW, IPPROTO_UDP);
	ASSERT_LE(0, sk);
	EXPECT_EQ(-EOPNOTSUPP, mr_getopt(sk, p->f, MRT_VERSION));
	EXPECT_EQ(-EOPNOTSUPP, mr_setopt(sk, p->f, MRT_INIT, 1));
	close(sk);
	sk = mr_socket(d->ns, p->f->family, SOCK_DGRAM, 0);
	ASSERT_LE(0, sk);
	EXPECT_EQ(-EOPNOTSUPP, mr_getopt(sk, p->f, MRT_VERSION));
	close(sk);
}

TEST_F_TIMEOUT(mroute_options, setsockopt, TIMEOUT_S)
{
	static const int small[] = {
		MRT_FLUSH, MRT_ASSERT, MRT_PIM, MRT_TABLE,
	};
	static const int big[] = {
		MRT_ADD_VIF, MRT_DEL_VIF, MRT_ADD_MFC, MRT_DEL_MFC,
		MRT_ADD_MFC_PROXY, MRT_DEL_MFC_PROXY,
	};
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	bool v6 = p->f->family == AF_INET6;
	char room[256] = {};
	int i, size;

	for (i = 0; i < 4; i++) {
		if (small[i] == MRT_TABLE && !d->tables)
			continue;
		EXPECT_EQ(-EINVAL, setopt_len(d, small[i], "", 1));
		EXPECT_EQ(-EFAULT, setopt_len(d, small[i], d->hole,
					      sizeof(int)));
	}
	for (i = 0; i < 6; i++) {
		if (v6)
			size = i == 0 ? sizeof(struct mif6ctl) :
			       i == 1 ? sizeof(mifi_t) : sizeof(struct mf6cctl);
		else
			size = i < 2 ? sizeof(struct vifctl) :
				       sizeof(struct mfcctl);
		EXPECT_EQ(-EINVAL, setopt_len(d, big[i], room, size - 1));
		EXPECT_EQ(-EFAULT, setopt_len(d, big[i], d->hole, size));
	}
	EXPECT_EQ(-EINVAL, setopt_len(d, MRT_INIT, "", 1));
	EXPECT_EQ(-ENOPROTOOPT, mr_setopt(d->sk, p->f, MRT_VERSION, 1));

	EXPECT_EQ(-ENFILE, mr_vif_add(d->sk, p->f, MAXVIFS, d->link[0]));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_vif_add(d->sk, p->f, 0, 9999));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_vif_del(d->sk, p->f, 0));
	EXPECT_EQ(-ENFILE, mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source,
				  p->group, MAXVIFS, 0));
	EXPECT_EQ(-EINVAL, mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source,
				  p->unicast, 0, 0));
	EXPECT_EQ(-ENOENT, mr_mfc(d->sk, p->f, MRT_DEL_MFC, p->source,
				  p->group, 0, 0));

	ASSERT_EQ(0, fill(d));
	EXPECT_EQ(-EADDRINUSE, mr_vif_add(d->sk, p->f, STATIC_VIF, d->link[1]));
	ASSERT_EQ(0, mr_vif_add_register(d->sk, p->f, REGISTER_VIF));
	EXPECT_EQ(-EADDRINUSE,
		  mr_vif_add_register(d->sk, p->f, REGISTER_VIF + 1));
	EXPECT_EQ(0, mr_mfc(d->sk, p->f, MRT_DEL_MFC, p->source, p->group, 0,
			    0));
	EXPECT_EQ(-ENOENT, mr_mfc(d->sk, p->f, MRT_DEL_MFC, p->source,
				  p->group, 0, 0));
}

TEST_F_TIMEOUT(mroute_options, ioctls, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	struct mr_count count;

	EXPECT_EQ(-EFAULT, mr_err(ioctl(d->raw, SIOCGETVIFCNT, d->hole)));
	EXPECT_EQ(-EFAULT, mr_err(ioctl(d->raw, SIOCGETSGCNT, d->hole)));
	EXPECT_EQ(-ENOTTY, mr_err(ioctl(d->raw, SIOCGETRPF, &count)));
	EXPECT_EQ(-EINVAL, mr_vif_count(d->raw, p->f, 0, &count));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_mfc_count(d->raw, p->f, p->source,
					       p->group, &count));

	ASSERT_EQ(0, fill(d));
	EXPECT_EQ(0, mr_vif_count(d->raw, p->f, DYNAMIC_VIF, &count));
	EXPECT_EQ(0, mr_mfc_count(d->raw, p->f, p->source, p->group, &count));
	ASSERT_EQ(0, mr_vif_del(d->sk, p->f, STATIC_VIF));
	EXPECT_EQ(-EADDRNOTAVAIL, mr_vif_count(d->raw, p->f, STATIC_VIF,
					       &count));
	EXPECT_EQ(-EINVAL, mr_vif_count(d->raw, p->f, DYNAMIC_VIF + 1, &count));
}

TEST_F_TIMEOUT(mroute_options, flush, TIMEOUT_S)
{
	static const int flag[THINGS] = {
		[VIF]		= MRT_FLUSH_VIFS,
		[VIF_STATIC]	= MRT_FLUSH_VIFS_STATIC,
		[MFC]		= MRT_FLUSH_MFC,
		[MFC_STATIC]	= MRT_FLUSH_MFC_STATIC,
	};
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	int flags, thing;

	for (flags = 0; flags < 1 << THINGS; flags++) {
		ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_FLUSH,
				       (1 << THINGS) - 1));
		ASSERT_EQ(0, fill(d));
		ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_FLUSH, flags));
		for (thing = 0; thing < THINGS; thing++)
			EXPECT_EQ(!(flags & flag[thing]), is_there(d, thing))
				TH_LOG("flags %d, thing %d", flags, thing);
	}
}

/* Dynamic VIFs and routes go away with their daemon, whether it calls MRT_DONE
 * or just closes its socket. Then the next daemon can start.
 */
TEST_F_TIMEOUT(mroute_options, daemon, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	int closes;

	for (closes = 0; closes < 2; closes++) {
		ASSERT_EQ(0, fill(d));
		ASSERT_EQ(0, mr_vif_add_register(d->sk, p->f, REGISTER_VIF));
		ASSERT_LT(0, mr_link_index(d->nl, p->f->register_name));
		EXPECT_EQ(-EADDRINUSE, mr_setopt(d->raw, p->f, MRT_INIT, 1));
		EXPECT_EQ(-EADDRINUSE, mr_setopt(d->sk, p->f, MRT_INIT, 1));
		EXPECT_EQ(-EACCES, mr_setopt(d->raw, p->f, MRT_DONE, 1));

		if (closes) {
			close(d->sk);
			d->sk = mr_sock(d->ns, p->f);
			ASSERT_LE(0, d->sk);
		} else {
			ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_DONE, 1));
			EXPECT_EQ(-EACCES, mr_setopt(d->sk, p->f, MRT_DONE, 1));
		}
		EXPECT_EQ(-ENODEV, mr_link_index(d->nl, p->f->register_name));
		EXPECT_FALSE(is_there(d, VIF));
		EXPECT_FALSE(is_there(d, MFC));
		EXPECT_TRUE(is_there(d, VIF_STATIC));
		EXPECT_TRUE(is_there(d, MFC_STATIC));

		ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_INIT, 1));
		ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_FLUSH,
				       (1 << THINGS) - 1));
	}
}

/* Listeners are told of each route once, and that it goes before they are told
 * that the register VIF's device goes, in each of the three ways to end them.
 */
TEST_F_TIMEOUT(mroute_options, notifications, TIMEOUT_S)
{
	enum { FLUSH, DONE, CLOSE, WAYS };
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	int nl, index, way;

	nl = listener(d);
	ASSERT_LE(0, nl);
	ASSERT_EQ(0, mr_vif_add(d->raw, p->f, STATIC_VIF, d->link[0]));
	for (way = 0; way < WAYS; way++) {
		ASSERT_EQ(0, mr_vif_add(d->sk, p->f, DYNAMIC_VIF, d->link[1]));
		ASSERT_EQ(0, mr_vif_add_register(d->sk, p->f, REGISTER_VIF));
		index = mr_link_index(d->nl, p->f->register_name);
		ASSERT_LT(0, index);
		ASSERT_EQ(0, mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source,
				    p->group, DYNAMIC_VIF, 1 << STATIC_VIF));
		ASSERT_EQ(0, mr_mfc(d->sk, p->f, MRT_ADD_MFC, p->source,
				    p->static_group, REGISTER_VIF,
				    1 << DYNAMIC_VIF));
		EXPECT_STREQ("RR", told(d, nl, index));

		if (way == FLUSH) {
			ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_FLUSH,
					       MRT_FLUSH_VIFS | MRT_FLUSH_MFC));
		} else if (way == DONE) {
			ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_DONE, 1));
			ASSERT_EQ(0, mr_setopt(d->sk, p->f, MRT_INIT, 1));
		} else {
			close(d->sk);
		}
		EXPECT_STREQ("rrl", told(d, nl, index)) {
			TH_LOG("way %d", way);
		}
	}
	close(nl);
}

TEST_F_TIMEOUT(mroute_options, netlink_route, TIMEOUT_S)
{
	struct daemon *d = &self->daemon;

	if (variant->plan->f->family == AF_INET6)
		SKIP(return, "IPv6 has no RTM_NEWROUTE for multicast routes");
	ASSERT_EQ(0, mr_vif_add(d->sk, variant->plan->f, 0, d->link[0]));
	EXPECT_EQ(-ENOENT, netlink_mfc(d, RTM_DELROUTE, RT_TABLE_DEFAULT));
	EXPECT_FALSE(is_there(d, MFC_STATIC));
	EXPECT_EQ(0, netlink_mfc(d, RTM_NEWROUTE, RT_TABLE_DEFAULT));
	EXPECT_TRUE(is_there(d, MFC_STATIC));
	EXPECT_EQ(0, netlink_mfc(d, RTM_DELROUTE, RT_TABLE_DEFAULT));
	EXPECT_FALSE(is_there(d, MFC_STATIC));
}

/* A kernel with a single table uses it for every table number. */
TEST_F_TIMEOUT(mroute_options, absent_table, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	int err = d->tables ? -ENOENT : 0;
	struct mr_route route;

	ASSERT_EQ(0, fill(d));
	EXPECT_EQ(1, mr_route_get(d->nl, p->f, 0, p->source, p->group,
				  p->f->default_table, &route));
	EXPECT_EQ(err, mr_route_get(d->nl, p->f, 0, p->source, p->group,
				    NO_TABLE, &route));
	if (p->f->family == AF_INET) {
		EXPECT_EQ(err, netlink_mfc(d, RTM_NEWROUTE, NO_TABLE));
		EXPECT_EQ(err, netlink_mfc(d, RTM_DELROUTE, NO_TABLE));
		EXPECT_EQ(d->tables ? 2 : 1, dump_table(d, p->f->default_table));
	} else {
		EXPECT_EQ(2, dump_table(d, p->f->default_table));
	}
	EXPECT_EQ(d->tables ? -ENOENT : p->f->family == AF_INET ? 1 : 2,
		  dump_table(d, NO_TABLE));
}

/* Two daemons, each with its own table. */
TEST_F_TIMEOUT(mroute_options, tables, TIMEOUT_S)
{
	const struct plan *p = variant->plan;
	struct daemon *d = &self->daemon;
	struct mr_table_info info;
	struct mr_route route;
	char name[IFNAMSIZ];
	int sk;

	if (!d->tables) {
		EXPECT_EQ(-ENOPROTOOPT, mr_setopt(d->raw, p->f, MRT_TABLE,
						  OTHER_TABLE));
		if (p->f->family == AF_INET)
			EXPECT_EQ(1, mr_table_get(d->nl, p->f, 0, &info));
		return;
	}

	sk = mr_sock(d->ns, p->f);
	ASSERT_LE(0, sk);
	EXPECT_EQ(-EBUSY, mr_setopt(d->sk, p->f, MRT_TABLE, OTHER_TABLE));
	EXPECT_EQ(-EINVAL, mr_setopt(sk, p->f, MRT_TABLE, 1000000000));
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_TABLE, OTHER_TABLE));
	if (p->f->family == AF_INET)
		EXPECT_EQ(2, mr_table_get(d->nl, p->f, 0, &info));
	ASSERT_EQ(0, mr_setopt(sk, p->f, MRT_INIT, 1));
	EXPECT_EQ(-EBUSY, mr_setopt(sk, p->f, MRT_TABLE, OTHER_TABLE + 1));
	EXPECT_EQ(p->version, mr_getopt(sk, p->f, MRT_VERSION));

	ASSERT_EQ(0, fill(d));
	ASSERT_EQ(0, mr_vif_add(sk, p->f, 0, d->link[0]));
	ASSERT_EQ(0, mr_vif_add_register(sk, p->f, 1));
	snprintf(name, sizeof(name), "%s%d", p->f->register_name, OTHER_TABLE);
	EXPECT_LT(0, mr_link_index(d->nl, name));
	EXPECT_EQ(-ENOENT, mr_route_get(d->nl, p->f, 0, p->source, p->group,
					OTHER_TABLE, &route));
	ASSERT_EQ(0, mr_mfc(sk, p->f, MRT_ADD_MFC, p->source, p->group, 0, 0));
	EXPECT_EQ(1, mr_route_get(d->nl, p->f, 0, p->source, p->group,
				  OTHER_TABLE, &route));
	EXPECT_EQ(1, mr_route_get(d->nl, p->f, NLM_F_DUMP, p->source, p->group,
				  OTHER_TABLE, &route));
	EXPECT_EQ(1, mr_route_get(d->nl, p->f, NLM_F_DUMP, p->source, p->group,
				  p->f->default_table, &route));

	close(sk);
	EXPECT_EQ(-ENODEV, mr_link_index(d->nl, name));
	EXPECT_EQ(-ENOENT, mr_route_get(d->nl, p->f, 0, p->source, p->group,
					OTHER_TABLE, &route));
	if (p->f->family == AF_INET)
		EXPECT_EQ(2, mr_table_get(d->nl, p->f, 0, &info));
	EXPECT_TRUE(is_there(d, MFC));
}

TEST_HARNESS_MAIN
