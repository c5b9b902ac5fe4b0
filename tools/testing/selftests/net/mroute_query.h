/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Queries for multicast routes and VIFs through rtnetlink and /proc, for tests
 * that compare the answers.
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
	struct mr_count count;
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
	const struct rta_mfc_stats *nla = mr_route_attr(nh, RTA_MFC_STATS);
	struct rta_mfc_stats stats;

	if (!src || memcmp(src, route->src, route->f->addr_len) ||
	    !dst || memcmp(dst, route->dst, route->f->addr_len) ||
	    !table || *table != route->table)
		return;
	route->found++;
	route->flags = rtm->rtm_flags;
	route->protocol = rtm->rtm_protocol;
	if (!nla)
		return;
	/* Attributes are aligned to four bytes only. */
	memcpy(&stats, nla, sizeof(stats));
	route->count.packets = stats.mfcs_packets;
	route->count.bytes = stats.mfcs_bytes;
	route->count.wrong_if = stats.mfcs_wrong_if;
}

/* Starts a message about a route. Without a @table, the kernel chooses its
 * default table.
 */
static inline int mr_route_begin(struct mr_nlreq *req, int type, int flags,
				 const struct mr_family *f, const char *src,
				 const char *group, __u32 table)
{
	struct rtmsg rtm = {
		.rtm_family = f->rtnl_family,
		.rtm_src_len = f->addr_len * 8,
		.rtm_dst_len = f->addr_len * 8,
	};
	__u8 bin[2][16];

	if (mr_addr(f, src, bin[0]) || mr_addr(f, group, bin[1]))
		return -EINVAL;
	mr_nl_begin(req, type, flags, &rtm, sizeof(rtm));
	mr_nl_put(req, RTA_SRC, bin[0], f->addr_len);
	mr_nl_put(req, RTA_DST, bin[1], f->addr_len);
	if (table)
		mr_nl_put_u32(req, RTA_TABLE, table);
	return 0;
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
	route->table = table ?: f->default_table;
	if (mr_addr(f, src, route->src) || mr_addr(f, group, route->dst))
		return -EINVAL;
	if (flags)
		mr_nl_begin(&req, RTM_GETROUTE, flags, &rtm, sizeof(rtm));
	else if (mr_route_begin(&req, RTM_GETROUTE, 0, f, src, group, table))
		return -EINVAL;
	ret = mr_nl_query(nl, &req, mr_route_cb, route);
	return ret < 0 ? ret : route->found;
}

/* The default table and one of its VIFs as rtnetlink shows them. */
struct mr_table_info {
	__u32 vifi;
	unsigned long queue_len;	/* unresolved routes */
	int vifs;
	int links[MAXVIFS];		/* of the VIFs */
	struct mr_count count;
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
	__u32 vifi;
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
		vifi = mr_attr_value(vif, IPMRA_VIFA_VIF_ID, 4);
		info->vifs++;
		if (vifi < MAXVIFS)
			info->links[vifi] = mr_attr_value(vif, IPMRA_VIFA_IFINDEX, 4);
		if (vifi != info->vifi)
			continue;
		info->count.packets = mr_attr_value(vif, IPMRA_VIFA_PACKETS_IN, 8);
		info->count.bytes = mr_attr_value(vif, IPMRA_VIFA_BYTES_IN, 8);
		info->count.wrong_if = mr_attr_value(vif, IPMRA_VIFA_PACKETS_OUT, 8);
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

/* Gets a VIF's counts from /proc. */
static inline int mr_proc_vif(int ns, const struct mr_family *f, int vifi,
			      struct mr_count *count)
{
	FILE *file = mr_proc_open(ns, f->proc_vif);
	bool found = false;
	char line[512];
	int n;

	if (!file)
		return -errno;
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%d %*s %lu %lu %*u %lu", &n, &count->bytes,
			       &count->packets, &count->wrong_if) == 4 &&
			n == vifi;
	fclose(file);
	return found ? 0 : -ENOENT;
}

#endif /* _MROUTE_QUERY_H */
