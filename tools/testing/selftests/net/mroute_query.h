/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Queries for links, multicast routes and VIFs through rtnetlink and /proc, for
 * tests that compare the answers.
 */
#ifndef _MROUTE_QUERY_H
#define _MROUTE_QUERY_H

#include "mroute_lib.h"

/* One MFC as rtnetlink shows it. */
struct mr_route {
	const struct mr_family *f;
	__u8 src[16];
	__u8 dst[16];
	__u32 table;
	int found;
	unsigned int flags;
	int protocol;
	struct rta_mfc_stats stats;
};

static inline const void *mr_route_attr(const struct nlmsghdr *nh, int type)
{
	const struct nlattr *nla = mr_nl_msg_attr(nh, sizeof(struct rtmsg), type);

	return nla ? nla + 1 : NULL;
}

static inline void mr_route_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct rtmsg *rtm = NLMSG_DATA(nh);
	struct mr_route *route = arg;
	const void *src = mr_route_attr(nh, RTA_SRC);
	const void *dst = mr_route_attr(nh, RTA_DST);
	const __u32 *table = mr_route_attr(nh, RTA_TABLE);
	const void *stats = mr_route_attr(nh, RTA_MFC_STATS);

	if (!src || memcmp(src, route->src, route->f->addr_len) ||
	    !dst || memcmp(dst, route->dst, route->f->addr_len) ||
	    !table || *table != route->table)
		return;
	route->found++;
	route->flags = rtm->rtm_flags;
	route->protocol = rtm->rtm_protocol;
	if (stats)
		memcpy(&route->stats, stats, sizeof(route->stats));
}

/* Gets a route from the table, or looks for it in a dump of all routes if
 * @flags has NLM_F_DUMP. Returns how many times it was found.
 */
static inline int mr_route_get(int nl, const struct mr_family *f, int flags,
			       const char *src, const char *group, __u32 table,
			       struct mr_route *route)
{
	struct rtmsg rtm = { .rtm_family = f->rtnl_family };
	struct mr_nlreq req;
	int ret;

	memset(route, 0, sizeof(*route));
	route->f = f;
	route->table = table;
	if (mr_addr(f, src, route->src) || mr_addr(f, group, route->dst))
		return -EINVAL;

	if (!flags) {
		rtm.rtm_src_len = f->addr_len * 8;
		rtm.rtm_dst_len = f->addr_len * 8;
	}
	mr_nl_begin(&req, RTM_GETROUTE, flags, &rtm, sizeof(rtm));
	if (!flags) {
		mr_nl_put(&req, RTA_SRC, route->src, f->addr_len);
		mr_nl_put(&req, RTA_DST, route->dst, f->addr_len);
		mr_nl_put_u32(&req, RTA_TABLE, table);
	}
	ret = mr_nl_query(nl, &req, mr_route_cb, route);
	return ret < 0 ? ret : route->found;
}

/* The default table and one of its VIFs as rtnetlink shows them. */
struct mr_table_info {
	__u32 vifi;
	unsigned long queue_len;	/* unresolved routes */
	unsigned long in;
	unsigned long out;
};

static inline __u64 mr_attr_value(const struct nlattr *nest, int type, size_t size)
{
	const struct nlattr *nla;
	__u64 value = 0;

	nla = mr_nl_attr(nest + 1, nest->nla_len - NLA_HDRLEN, type);
	if (nla)
		memcpy(&value, nla + 1, size);
	return value;
}

static inline void mr_table_cb(const struct nlmsghdr *nh, void *arg)
{
	struct mr_table_info *info = arg;
	const struct nlattr *af, *vif;
	int left;

	af = mr_nl_msg_attr(nh, sizeof(struct ifinfomsg), IFLA_AF_SPEC);
	if (!af || mr_attr_value(af, IPMRA_TABLE_ID, 4) != RT_TABLE_DEFAULT)
		return;
	info->queue_len = mr_attr_value(af, IPMRA_TABLE_CACHE_RES_QUEUE_LEN, 4);
	vif = mr_nl_attr(af + 1, af->nla_len - NLA_HDRLEN, IPMRA_TABLE_VIFS);
	if (!vif)
		return;
	left = vif->nla_len - NLA_HDRLEN;
	for (vif++; left >= NLA_HDRLEN; left -= NLA_ALIGN(vif->nla_len),
	     vif = (void *)((char *)vif + NLA_ALIGN(vif->nla_len))) {
		if (mr_attr_value(vif, IPMRA_VIFA_VIF_ID, 4) != info->vifi)
			continue;
		info->in = mr_attr_value(vif, IPMRA_VIFA_PACKETS_IN, 8);
		info->out = mr_attr_value(vif, IPMRA_VIFA_PACKETS_OUT, 8);
	}
}

static inline int mr_table_get(int nl, const struct mr_family *f, __u32 vifi,
			       struct mr_table_info *info)
{
	struct ifinfomsg ifi = { .ifi_family = f->rtnl_family };
	struct mr_nlreq req;

	memset(info, 0, sizeof(*info));
	info->vifi = vifi;
	mr_nl_begin(&req, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi));
	return mr_nl_query(nl, &req, mr_table_cb, info);
}

/* Gets a VIF's packet counts from /proc. */
static inline int mr_proc_vif(int ns, const struct mr_family *f, int vifi,
			      unsigned long *in, unsigned long *out)
{
	char buf[4096], *line;
	int n, ret;

	ret = mr_read(ns, f->proc_vif, buf, sizeof(buf));
	if (ret < 0)
		return ret;
	for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (sscanf(line, "%d %*s %*u %lu %*u %lu", &n, in, out) == 3 &&
		    n == vifi)
			return 0;
	return -ENOENT;
}

#define MR_OPER_UP	6	/* IF_OPER_UP: net/if.h excludes linux/if.h */

static inline void mr_operstate_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct nlattr *nla;

	nla = mr_nl_msg_attr(nh, sizeof(struct ifinfomsg), IFLA_OPERSTATE);
	*(bool *)arg = nla && *(const __u8 *)(nla + 1) == MR_OPER_UP;
}

/* Waits until a link that is up is also operational. Until a work item has seen
 * its carrier, it drops packets.
 */
static inline int mr_link_wait(int nl, const char *name)
{
	struct mr_nlreq req;
	bool up = false;
	int ret;

	for (;;) {
		mr_link_begin(&req, RTM_GETLINK, 0, name, 0);
		ret = mr_nl_query(nl, &req, mr_operstate_cb, &up);
		if (ret < 0)
			return ret;
		if (up)
			return 0;
		usleep(1000);
	}
}

#endif /* _MROUTE_QUERY_H */
