/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers for the multicast routing tests: rtnetlink, network namespaces,
 * mroute sockets and frames, without any external programs.
 *
 * Nothing here asserts or prints. Functions return -errno on failure, and a
 * file descriptor, a number or 0 on success. Addresses are strings. Functions
 * that depend on the address family take a struct mr_family. Functions that
 * work in a namespace take a file descriptor for it, or -1 for the calling
 * thread's own; they always leave the thread in the namespace it came from.
 */
#ifndef _MROUTE_LIB_H
#define _MROUTE_LIB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/mroute.h>
#include <linux/mroute6.h>
#include <linux/rtnetlink.h>
#include <linux/types.h>
#include <linux/udp.h>
#include <linux/veth.h>

/* The options MRT_* and MRT6_*, their flags, the ioctls, and the types of
 * messages to the daemon have the same numbers.
 */
struct mr_family {
	int		family;
	int		rtnl_family;	/* of multicast routes in rtnetlink */
	int		addr_len;
	int		ip_len;		/* of the IP header */
	int		level;		/* of the mroute socket's options */
	int		protocol;	/* of the mroute socket */
	int		eth_proto;
	__u32		default_table;
	const char	*register_name;
	const char	*proc_cache;
	const char	*proc_vif;
};

static const struct mr_family mr_ipv4 = {
	.family		= AF_INET,
	.rtnl_family	= RTNL_FAMILY_IPMR,
	.addr_len	= sizeof(struct in_addr),
	.ip_len		= sizeof(struct iphdr),
	.level		= IPPROTO_IP,
	.protocol	= IPPROTO_IGMP,
	.eth_proto	= ETH_P_IP,
	.default_table	= RT_TABLE_DEFAULT,
	.register_name	= "pimreg",
	.proc_cache	= "/proc/thread-self/net/ip_mr_cache",
	.proc_vif	= "/proc/thread-self/net/ip_mr_vif",
};

static const struct mr_family mr_ipv6 = {
	.family		= AF_INET6,
	.rtnl_family	= RTNL_FAMILY_IP6MR,
	.addr_len	= sizeof(struct in6_addr),
	.ip_len		= sizeof(struct ipv6hdr),
	.level		= IPPROTO_IPV6,
	.protocol	= IPPROTO_ICMPV6,
	.eth_proto	= ETH_P_IPV6,
	.default_table	= RT_TABLE_MAIN,
	.register_name	= "pim6reg",
	.proc_cache	= "/proc/thread-self/net/ip6_mr_cache",
	.proc_vif	= "/proc/thread-self/net/ip6_mr_vif",
};

#define MR_LINKS	3

static const __u8 mr_router_mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };

/* Addresses for the tests. The router has router[i] on its link i. */
struct mr_plan {
	const struct mr_family	*f;
	const char		*router[MR_LINKS];
	int			prefix;
	const char		*source;	/* behind link 0 */
	const char		*other_source;	/* behind the register VIF */
	const char		*group;
	const char		*other_group;
	const char		*any;
};

static const struct mr_plan mr_plan_ipv4 = {
	.f		= &mr_ipv4,
	.router		= { "10.0.0.1", "10.0.1.1", "10.0.2.1" },
	.prefix		= 24,
	.source		= "10.0.0.9",
	.other_source	= "10.0.9.9",
	.group		= "239.1.1.1",
	.other_group	= "239.1.1.2",
	.any		= "0.0.0.0",
};

static const struct mr_plan mr_plan_ipv6 = {
	.f		= &mr_ipv6,
	.router		= { "fd00::1", "fd00:1::1", "fd00:2::1" },
	.prefix		= 64,
	.source		= "fd00::9",
	.other_source	= "fd00:9::9",
	.group		= "ff15::1",
	.other_group	= "ff15::2",
	.any		= "::",
};

static inline int mr_addr(const struct mr_family *f, const char *text, void *to)
{
	return inet_pton(f->family, text, to) == 1 ? 0 : -EINVAL;
}

/* Namespaces */

static inline int mr_err(int ret)
{
	return ret < 0 ? -errno : ret;
}

static inline int mr_ns_self(void)
{
	return mr_err(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

/* Enters @ns. Returns the old namespace, for mr_ns_leave(). */
static inline int mr_ns_visit(int ns)
{
	int old = ns < 0 ? -1 : mr_ns_self();
	int err;

	if (old < 0 || !setns(ns, CLONE_NEWNET))
		return old;
	err = -errno;
	close(old);
	return err;
}

static inline void mr_ns_leave(int old)
{
	if (old < 0)
		return;
	setns(old, CLONE_NEWNET);
	close(old);
}

static inline int mr_ns_new(void)
{
	int old = mr_ns_self();
	int ns;

	if (old < 0)
		return old;
	ns = mr_err(unshare(CLONE_NEWNET));
	if (!ns)
		ns = mr_ns_self();
	mr_ns_leave(old);
	return ns;
}

static inline int mr_socket(int ns, int domain, int type, int protocol)
{
	int old = mr_ns_visit(ns);
	int fd;

	if (ns >= 0 && old < 0)
		return old;
	fd = mr_err(socket(domain, type | SOCK_CLOEXEC, protocol));
	mr_ns_leave(old);
	return fd;
}

/* Opens a file of /proc/thread-self/net, which shows the thread's namespace. */
static inline FILE *mr_proc_open(int ns, const char *path)
{
	int old = mr_ns_visit(ns);
	FILE *file;

	if (ns >= 0 && old < 0)
		return NULL;
	file = fopen(path, "re");
	mr_ns_leave(old);
	return file;
}

/* rtnetlink */

struct mr_nlreq {
	struct nlmsghdr	nh;
	char		body[2048];
};

static inline int mr_nl_open(int ns)
{
	return mr_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static inline void mr_nl_begin(struct mr_nlreq *req, int type, int flags,
			       const void *header, size_t len)
{
	memset(req, 0, sizeof(*req));
	req->nh.nlmsg_type = type;
	req->nh.nlmsg_flags = NLM_F_REQUEST | flags;
	req->nh.nlmsg_len = NLMSG_LENGTH(len);
	memcpy(NLMSG_DATA(&req->nh), header, len);
}

static inline struct nlattr *mr_nl_put(struct mr_nlreq *req, int type,
				       const void *data, size_t len)
{
	struct nlattr *nla;

	nla = (void *)((char *)req + NLMSG_ALIGN(req->nh.nlmsg_len));
	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)nla + NLA_HDRLEN, data, len);
	req->nh.nlmsg_len = (char *)nla + NLA_ALIGN(nla->nla_len) - (char *)req;
	return nla;
}

static inline void mr_nl_put_u32(struct mr_nlreq *req, int type, __u32 value)
{
	mr_nl_put(req, type, &value, sizeof(value));
}

static inline void mr_nl_put_str(struct mr_nlreq *req, int type, const char *s)
{
	mr_nl_put(req, type, s, strlen(s) + 1);
}

static inline struct nlattr *mr_nl_nest(struct mr_nlreq *req, int type)
{
	return mr_nl_put(req, type, NULL, 0);
}

static inline void mr_nl_nest_end(struct mr_nlreq *req, struct nlattr *nest)
{
	nest->nla_len = (char *)req + req->nh.nlmsg_len - (char *)nest;
}

/* Finds attribute @type in the @len bytes at @nla, or returns NULL. */
static inline const struct nlattr *mr_nl_attr(const struct nlattr *nla, int len,
					      int type)
{
	while (len >= NLA_HDRLEN && nla->nla_len >= NLA_HDRLEN &&
	       nla->nla_len <= len) {
		if ((nla->nla_type & NLA_TYPE_MASK) == type)
			return nla;
		len -= NLA_ALIGN(nla->nla_len);
		nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len));
	}
	return NULL;
}

/* Finds attribute @type of a message with a family header of @header bytes. */
static inline const struct nlattr *mr_nl_msg_attr(const struct nlmsghdr *nh,
						  size_t header, int type)
{
	return mr_nl_attr((void *)((char *)nh + NLMSG_SPACE(header)),
			  (int)nh->nlmsg_len - (int)NLMSG_SPACE(header), type);
}

/* Sends @req and reads the answer up to the ack or the end of the dump. Calls
 * @each for every message, and returns their number.
 */
static inline int mr_nl_query(int nl, struct mr_nlreq *req,
			      void (*each)(const struct nlmsghdr *nh, void *arg),
			      void *arg)
{
	static __u32 last_seq;
	struct nlmsghdr *nh;
	__u32 buf[4096];
	unsigned int left;
	int len, err;
	int n = 0;

	req->nh.nlmsg_seq = __atomic_add_fetch(&last_seq, 1, __ATOMIC_RELAXED);
	/* NLM_F_DUMP has two bits, one of which is also NLM_F_EXCL. */
	if ((req->nh.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		req->nh.nlmsg_flags |= NLM_F_ACK;
	if (send(nl, req, req->nh.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		len = mr_err(recv(nl, buf, sizeof(buf), MSG_TRUNC));
		if (len < 0)
			return len;
		if (len > (int)sizeof(buf))
			return -EMSGSIZE;
		left = len;
		for (nh = (void *)buf; NLMSG_OK(nh, left);
		     nh = NLMSG_NEXT(nh, left)) {
			if (nh->nlmsg_seq != req->nh.nlmsg_seq)
				continue;
			/* Both messages start with the error code. */
			if (nh->nlmsg_type == NLMSG_ERROR ||
			    nh->nlmsg_type == NLMSG_DONE) {
				err = *(int *)NLMSG_DATA(nh);
				return err < 0 ? err : n;
			}
			n++;
			if (each)
				each(nh, arg);
		}
	}
}

static inline int mr_nl_talk(int nl, struct mr_nlreq *req)
{
	int ret = mr_nl_query(nl, req, NULL, NULL);

	return ret < 0 ? ret : 0;
}

/* Links: @nl selects the namespace, @name the link */

static inline void mr_link_begin(struct mr_nlreq *req, int type, int flags,
				 const char *name, unsigned int ifi_flags)
{
	struct ifinfomsg ifi = {
		.ifi_flags = ifi_flags,
		.ifi_change = ifi_flags,
	};

	mr_nl_begin(req, type, flags, &ifi, sizeof(ifi));
	mr_nl_put_str(req, IFLA_IFNAME, name);
}

struct mr_link {
	int	index;
	int	operstate;
};

static inline void mr_link_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct nlattr *nla;
	struct mr_link *link = arg;

	link->index = ((struct ifinfomsg *)NLMSG_DATA(nh))->ifi_index;
	nla = mr_nl_msg_attr(nh, sizeof(struct ifinfomsg), IFLA_OPERSTATE);
	if (nla)
		link->operstate = *(const __u8 *)(nla + 1);
}

static inline int mr_link_get(int nl, const char *name, struct mr_link *link)
{
	struct mr_nlreq req;

	memset(link, 0, sizeof(*link));
	mr_link_begin(&req, RTM_GETLINK, 0, name, 0);
	return mr_nl_query(nl, &req, mr_link_cb, link);
}

static inline int mr_link_index(int nl, const char *name)
{
	struct mr_link link;
	int ret = mr_link_get(nl, name, &link);

	return ret < 0 ? ret : link.index;
}

#define MR_OPER_UP	6	/* IF_OPER_UP: net/if.h excludes linux/if.h */

/* Waits until a link that is up is also operational. Until a work item has seen
 * its carrier, it drops packets.
 */
static inline int mr_link_wait(int nl, const char *name)
{
	struct mr_link link;
	int ret;

	do {
		usleep(1000);
		ret = mr_link_get(nl, name, &link);
	} while (ret > 0 && link.operstate != MR_OPER_UP);
	return ret < 0 ? ret : 0;
}

/* Adds a link. @table is for a VRF, others have NULL. */
static inline int mr_link_add(int nl, const char *name, const char *kind,
			      const __u32 *table)
{
	struct nlattr *info, *data;
	struct mr_nlreq req;

	mr_link_begin(&req, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, 0);
	info = mr_nl_nest(&req, IFLA_LINKINFO);
	mr_nl_put_str(&req, IFLA_INFO_KIND, kind);
	if (table) {
		data = mr_nl_nest(&req, IFLA_INFO_DATA);
		mr_nl_put_u32(&req, IFLA_VRF_TABLE, *table);
		mr_nl_nest_end(&req, data);
	}
	mr_nl_nest_end(&req, info);
	return mr_nl_talk(nl, &req);
}

/* Adds a veth pair. @peer goes into @peer_ns, with the address @peer_mac. */
static inline int mr_link_add_veth(int nl, const char *name, int peer_ns,
				   const char *peer, const __u8 *peer_mac)
{
	struct ifinfomsg ifi = {};
	struct nlattr *info, *data, *nest;
	struct mr_nlreq req;

	mr_link_begin(&req, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, 0);
	info = mr_nl_nest(&req, IFLA_LINKINFO);
	mr_nl_put_str(&req, IFLA_INFO_KIND, "veth");
	data = mr_nl_nest(&req, IFLA_INFO_DATA);
	nest = mr_nl_put(&req, VETH_INFO_PEER, &ifi, sizeof(ifi));
	mr_nl_put_str(&req, IFLA_IFNAME, peer);
	mr_nl_put_u32(&req, IFLA_NET_NS_FD, peer_ns);
	mr_nl_put(&req, IFLA_ADDRESS, peer_mac, ETH_ALEN);
	mr_nl_nest_end(&req, nest);
	mr_nl_nest_end(&req, data);
	mr_nl_nest_end(&req, info);
	return mr_nl_talk(nl, &req);
}

static inline int mr_link_del(int nl, const char *name)
{
	struct mr_nlreq req;

	mr_link_begin(&req, RTM_DELLINK, 0, name, 0);
	return mr_nl_talk(nl, &req);
}

static inline int mr_link_up(int nl, const char *name)
{
	struct mr_nlreq req;

	mr_link_begin(&req, RTM_NEWLINK, 0, name, IFF_UP);
	return mr_nl_talk(nl, &req);
}

/* Sets one attribute: IFLA_MASTER, or IFLA_NET_NS_FD to move the link. */
static inline int mr_link_set(int nl, const char *name, int attr, __u32 value)
{
	struct mr_nlreq req;

	mr_link_begin(&req, RTM_SETLINK, 0, name, 0);
	mr_nl_put_u32(&req, attr, value);
	return mr_nl_talk(nl, &req);
}

/* Sets the link's mc_forwarding, which counts the reasons to forward multicast
 * from it. Each VIF adds one and removes it again, so a larger @value outlives
 * them. IPv4 only: IPv6 has no such message.
 */
static inline int mr_link_mc_forwarding(int nl, const char *name, __u32 value)
{
	struct nlattr *spec, *inet, *conf;
	struct mr_nlreq req;

	mr_link_begin(&req, RTM_SETLINK, 0, name, 0);
	spec = mr_nl_nest(&req, IFLA_AF_SPEC);
	inet = mr_nl_nest(&req, AF_INET);
	conf = mr_nl_nest(&req, IFLA_INET_CONF);
	mr_nl_put_u32(&req, IPV4_DEVCONF_MC_FORWARDING, value);
	mr_nl_nest_end(&req, conf);
	mr_nl_nest_end(&req, inet);
	mr_nl_nest_end(&req, spec);
	return mr_nl_talk(nl, &req);
}

static inline int mr_addr_add(int nl, const struct mr_family *f,
			      const char *name, const char *addr, int prefix)
{
	int index = mr_link_index(nl, name);
	struct ifaddrmsg ifa = {
		.ifa_family = f->family,
		.ifa_prefixlen = prefix,
		.ifa_flags = f->family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_index = index,
	};
	struct mr_nlreq req;
	__u8 bin[16];

	if (index < 0 || mr_addr(f, addr, bin))
		return index < 0 ? index : -EINVAL;
	mr_nl_begin(&req, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL,
		    &ifa, sizeof(ifa));
	mr_nl_put(&req, IFA_LOCAL, bin, f->addr_len);
	mr_nl_put(&req, IFA_ADDRESS, bin, f->addr_len);
	return mr_nl_talk(nl, &req);
}

/* mroute sockets. VIFs and routes added by the socket that did MRT_INIT go away
 * with it. Those added by another raw socket are static.
 */

static inline int mr_sock(int ns, const struct mr_family *f)
{
	return mr_socket(ns, f->family, SOCK_RAW, f->protocol);
}

static inline int mr_setopt(int sk, const struct mr_family *f, int opt, int val)
{
	return mr_err(setsockopt(sk, f->level, opt, &val, sizeof(val)));
}

static inline int mr_getopt(int sk, const struct mr_family *f, int opt)
{
	socklen_t len = sizeof(int);
	int val = 0;
	int ret;

	ret = mr_err(getsockopt(sk, f->level, opt, &val, &len));
	return ret < 0 ? ret : val;
}

/* Opens a raw socket and makes it the namespace's multicast router. */
static inline int mr_router(int ns, const struct mr_family *f)
{
	int sk = mr_sock(ns, f);
	int err;

	if (sk < 0)
		return sk;
	err = mr_setopt(sk, f, MRT_INIT, 1);
	if (err) {
		close(sk);
		return err;
	}
	return sk;
}

/* A namespace with a daemon. File descriptors are -1 if not open. */
struct mr_daemon {
	const struct mr_plan	*p;
	int			ns;
	int			nl;
	int			sk;	/* did MRT_INIT */
	int			raw;	/* adds static VIFs and routes */
	int			link[MR_LINKS];
};

static inline int mr_daemon_open(struct mr_daemon *d, const struct mr_plan *p)
{
	*d = (struct mr_daemon){ .p = p, .nl = -1, .sk = -1, .raw = -1 };
	d->ns = mr_ns_new();
	if (d->ns < 0)
		return d->ns;
	d->nl = mr_nl_open(d->ns);
	if (d->nl < 0)
		return d->nl;
	d->sk = mr_router(d->ns, p->f);
	if (d->sk < 0)
		return d->sk;
	d->raw = mr_sock(d->ns, p->f);
	return d->raw < 0 ? d->raw : 0;
}

/* Drops all references to the namespace. */
static inline void mr_daemon_close(struct mr_daemon *d)
{
	close(d->sk);
	close(d->raw);
	close(d->nl);
	close(d->ns);
}

/* Without CONFIG_IP_MROUTE_MULTIPLE_TABLES or its like for IPv6, MRT_TABLE does
 * not exist. A socket that did MRT_INIT keeps its table.
 */
static inline bool mr_has_tables(int sk, const struct mr_family *f)
{
	return mr_setopt(sk, f, MRT_TABLE, f->default_table) != -ENOPROTOOPT;
}

/* Functions of the kernel tell how it was configured. */
static inline bool mr_has_function(const char *name)
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

static inline bool mr_has_pim(const struct mr_plan *p, int version)
{
	if (p->f->family == AF_INET6)
		return version == 2 && mr_has_function("pim6_rcv");
	return mr_has_function(version == 1 ? "pim_rcv_v1" : "pim_rcv");
}

static inline int mr_vif(int sk, const struct mr_family *f, int opt, int vifi,
			 int flags, int ifindex)
{
	struct vifctl vif = {
		.vifc_vifi = vifi,
		.vifc_flags = flags,
		.vifc_threshold = 1,
		.vifc_lcl_ifindex = ifindex,
	};
	struct mif6ctl mif = {
		.mif6c_mifi = vifi,
		.mif6c_flags = flags & VIFF_REGISTER ? MIFF_REGISTER : 0,
		.vifc_threshold = 1,
		.mif6c_pifi = ifindex,
	};

	if (f->family == AF_INET)
		return mr_err(setsockopt(sk, f->level, opt, &vif, sizeof(vif)));
	/* MRT6_DEL_MIF takes the first member only. */
	return mr_err(setsockopt(sk, f->level, opt, &mif, sizeof(mif)));
}

static inline int mr_vif_add(int sk, const struct mr_family *f, int vifi,
			     int ifindex)
{
	return mr_vif(sk, f, MRT_ADD_VIF, vifi, VIFF_USE_IFINDEX, ifindex);
}

/* Creates the device pimreg or pim6reg. */
static inline int mr_vif_add_register(int sk, const struct mr_family *f, int vifi)
{
	return mr_vif(sk, f, MRT_ADD_VIF, vifi, VIFF_REGISTER, 0);
}

static inline int mr_vif_del(int sk, const struct mr_family *f, int vifi)
{
	return mr_vif(sk, f, MRT_DEL_VIF, vifi, 0, 0);
}

/* Creates the device dvmrp<vifi>. IPv4 only. */
static inline int mr_vif_add_tunnel(int sk, int vifi, const char *local,
				    const char *remote)
{
	struct vifctl vif = {
		.vifc_vifi = vifi,
		.vifc_flags = VIFF_TUNNEL,
		.vifc_threshold = 1,
	};

	if (mr_addr(&mr_ipv4, local, &vif.vifc_lcl_addr) ||
	    mr_addr(&mr_ipv4, remote, &vif.vifc_rmt_addr))
		return -EINVAL;
	return mr_err(setsockopt(sk, IPPROTO_IP, MRT_ADD_VIF, &vif,
				 sizeof(vif)));
}

/* @opt is MRT_ADD_MFC or MRT_DEL_MFC, with or without _PROXY. @oifs has a bit
 * for each VIF to forward to.
 */
static inline int mr_mfc(int sk, const struct mr_family *f, int opt,
			 const char *src, const char *group, int parent,
			 __u32 oifs)
{
	struct mfcctl mfc = { .mfcc_parent = parent };
	struct mf6cctl mfc6 = { .mf6cc_parent = parent };
	int i;

	if (f->family == AF_INET6) {
		if (mr_addr(f, src, &mfc6.mf6cc_origin.sin6_addr) ||
		    mr_addr(f, group, &mfc6.mf6cc_mcastgrp.sin6_addr))
			return -EINVAL;
		mfc6.mf6cc_ifset.ifs_bits[0] = oifs;
		return mr_err(setsockopt(sk, f->level, opt, &mfc6,
					 sizeof(mfc6)));
	}
	if (mr_addr(f, src, &mfc.mfcc_origin) ||
	    mr_addr(f, group, &mfc.mfcc_mcastgrp))
		return -EINVAL;
	for (i = 0; i < MAXVIFS; i++)
		mfc.mfcc_ttls[i] = oifs & (1u << i) ? 1 : 255;
	return mr_err(setsockopt(sk, f->level, opt, &mfc, sizeof(mfc)));
}

struct mr_count {
	unsigned long	packets;	/* of a VIF: packets in */
	unsigned long	bytes;
	unsigned long	wrong_if;	/* of a VIF: packets out */
};

/* IPv6's struct sioc_mif_req6 is the same. */
static inline int mr_vif_count(int sk, int vifi, struct mr_count *count)
{
	struct sioc_vif_req req = { .vifi = vifi };

	memset(count, 0, sizeof(*count));
	if (ioctl(sk, SIOCGETVIFCNT, &req) < 0)
		return -errno;
	count->packets = req.icount;
	count->bytes = req.ibytes;
	count->wrong_if = req.ocount;
	return 0;
}

static inline int mr_mfc_count(int sk, const struct mr_family *f,
			       const char *src, const char *group,
			       struct mr_count *count)
{
	bool v6 = f->family == AF_INET6;
	struct sioc_sg_req6 req6 = {};
	struct sioc_sg_req req = {};

	memset(count, 0, sizeof(*count));
	if (mr_addr(f, src, v6 ? (void *)&req6.src.sin6_addr : &req.src) ||
	    mr_addr(f, group, v6 ? (void *)&req6.grp.sin6_addr : &req.grp))
		return -EINVAL;
	if (ioctl(sk, SIOCGETSGCNT, v6 ? (void *)&req6 : &req) < 0)
		return -errno;
	count->packets = v6 ? req6.pktcnt : req.pktcnt;
	count->bytes = v6 ? req6.bytecnt : req.bytecnt;
	count->wrong_if = v6 ? req6.wrong_if : req.wrong_if;
	return 0;
}

/* Is it the address as /proc/net/ip_mr_cache or ip6_mr_cache shows it? */
static inline bool mr_proc_is(const struct mr_family *f, const char *shown,
			      const char *addr)
{
	__u8 want[16], bin[16];
	unsigned int word;

	if (mr_addr(f, addr, want))
		return false;
	if (f->family == AF_INET)
		return sscanf(shown, "%X", &word) == 1 &&
		       !memcmp(&word, want, sizeof(word));
	return !mr_addr(f, shown, bin) && !memcmp(bin, want, f->addr_len);
}

/* The same from /proc/net/ip_mr_cache. Returns -ENOENT if there is no line. */
static inline int mr_proc_count(int ns, const struct mr_family *f,
				const char *src, const char *group,
				struct mr_count *count)
{
	FILE *file = mr_proc_open(ns, f->proc_cache);
	char line[512], g[40], s[40];
	bool found = false;

	if (!file)
		return -errno;
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%39s %39s %*d %lu %lu %lu", g, s,
			       &count->packets, &count->bytes,
			       &count->wrong_if) == 5 &&
			mr_proc_is(f, g, group) && mr_proc_is(f, s, src);
	fclose(file);
	return found ? 0 : -ENOENT;
}

/* A message of the kernel to the daemon: struct igmpmsg or struct mrt6msg. */
struct mr_upcall {
	int		type;		/* IGMPMSG_* */
	int		vif;
	char		src[INET6_ADDRSTRLEN];
	char		dst[INET6_ADDRSTRLEN];
	size_t		len;		/* of what follows, for WHOLEPKT */
	__u8		data[1024];
};

/* Reads the next message, and skips IGMP and ICMPv6 packets. Returns its type,
 * or -EAGAIN if there is none, with @flags MSG_DONTWAIT or after SO_RCVTIMEO.
 */
static inline int mr_upcall(int sk, const struct mr_family *f, int flags,
			    struct mr_upcall *up)
{
	bool v4 = f->family == AF_INET;
	size_t head = v4 ? sizeof(struct igmpmsg) : sizeof(struct mrt6msg);
	union {
		struct igmpmsg	v4;
		struct mrt6msg	v6;
		__u8		bytes[2048];
	} msg;
	int len;

	do {
		len = mr_err(recv(sk, &msg, sizeof(msg), flags));
		if (len < 0)
			return len;
		if (len < 2)
			return -EBADMSG;
		/* An IPv4 packet has its protocol there, ICMPv6 its type. */
	} while (v4 ? msg.v4.im_mbz : msg.v6.im6_mbz);
	if (len < (int)head)
		return -EBADMSG;

	up->type = v4 ? msg.v4.im_msgtype : msg.v6.im6_msgtype;
	up->vif = v4 ? msg.v4.im_vif | msg.v4.im_vif_hi << 8 : msg.v6.im6_mif;
	inet_ntop(f->family, v4 ? (void *)&msg.v4.im_src : &msg.v6.im6_src,
		  up->src, sizeof(up->src));
	inet_ntop(f->family, v4 ? (void *)&msg.v4.im_dst : &msg.v6.im6_dst,
		  up->dst, sizeof(up->dst));
	up->len = len - head;
	if (up->len > sizeof(up->data))
		return -EMSGSIZE;
	memcpy(up->data, msg.bytes + head, up->len);
	return up->type;
}

/* Frames, for AF_PACKET. Built from the outermost header inwards. */

struct mr_frame {
	size_t		len;
	__u8		data[512];
};

static inline __u16 mr_csum(const void *data, size_t len, __u32 sum)
{
	const __u8 *p = data;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

/* Starts a frame. It goes to @dst_mac, or to the MAC address of group @dst. */
static inline int mr_frame_eth(struct mr_frame *frame, const struct mr_family *f,
			       const __u8 *dst_mac, const char *dst)
{
	struct ethhdr *eth = (void *)frame->data;
	__u8 bin[16];

	if (mr_addr(f, dst, bin))
		return -EINVAL;
	memset(frame, 0, sizeof(*frame));
	if (dst_mac) {
		memcpy(eth->h_dest, dst_mac, ETH_ALEN);
	} else if (f->family == AF_INET6) {
		memcpy(eth->h_dest, "\x33\x33", 2);
		memcpy(eth->h_dest + 2, bin + 12, 4);
	} else {
		memcpy(eth->h_dest, "\x01\x00\x5e", 3);
		memcpy(eth->h_dest + 3, bin + 1, 3);
		eth->h_dest[3] &= 0x7f;
	}
	memcpy(eth->h_source, "\x02\x00\x00\x00\x00\x01", ETH_ALEN);
	eth->h_proto = htons(f->eth_proto);
	frame->len = sizeof(*eth);
	return 0;
}

/* Adds an IP header for @len bytes of payload. */
static inline int mr_frame_ip(struct mr_frame *frame, const struct mr_family *f,
			      const char *src, const char *dst, int protocol,
			      int ttl, size_t len)
{
	struct iphdr *ip = (void *)(frame->data + frame->len);
	struct ipv6hdr *ip6 = (void *)ip;

	if (frame->len + f->ip_len + len > sizeof(frame->data))
		return -EMSGSIZE;
	if (f->family == AF_INET6) {
		if (mr_addr(f, src, &ip6->saddr) || mr_addr(f, dst, &ip6->daddr))
			return -EINVAL;
		ip6->version = 6;
		ip6->payload_len = htons(len);
		ip6->nexthdr = protocol;
		ip6->hop_limit = ttl;
		frame->len += sizeof(*ip6);
		return 0;
	}
	if (mr_addr(f, src, &ip->saddr) || mr_addr(f, dst, &ip->daddr))
		return -EINVAL;
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = htons(sizeof(*ip) + len);
	ip->ttl = ttl;
	ip->protocol = protocol;
	ip->check = mr_csum(ip, sizeof(*ip), 0);
	frame->len += sizeof(*ip);
	return 0;
}

/* Adds a UDP packet with @payload zero bytes and no checksum. */
static inline int mr_frame_ip_udp(struct mr_frame *frame,
				  const struct mr_family *f, const char *src,
				  const char *dst, int ttl, int port,
				  size_t payload)
{
	size_t len = sizeof(struct udphdr) + payload;
	int err = mr_frame_ip(frame, f, src, dst, IPPROTO_UDP, ttl, len);
	struct udphdr *udp = (void *)(frame->data + frame->len);

	if (err)
		return err;
	udp->source = htons(port);
	udp->dest = htons(port);
	udp->len = htons(len);
	frame->len += len;
	return 0;
}

/* Builds a multicast data packet. */
static inline int mr_frame_udp(struct mr_frame *frame, const struct mr_family *f,
			       const char *src, const char *group, int ttl,
			       int port, size_t payload)
{
	int err = mr_frame_eth(frame, f, NULL, group);

	return err ?: mr_frame_ip_udp(frame, f, src, group, ttl, port, payload);
}

#define MR_REGISTER_PAYLOAD	16

/* Builds a REGISTER of PIM @version 1 or 2 from the source to the router, which
 * contains a packet from the other source to the group.
 */
static inline int mr_frame_register(struct mr_frame *frame,
				    const struct mr_plan *p, int version)
{
	/* PIMv1 is an IGMP message with its version in the group field. */
	static const __u8 v1[8] = { 0x14, 1, 0, 0, 0x10 };
	static const __u8 v2[8] = { 0x21 };
	size_t len = sizeof(v1) + p->f->ip_len + sizeof(struct udphdr) +
		     MR_REGISTER_PAYLOAD;
	const char *src = p->source, *dst = p->router[0];
	__u8 *pim, pseudo[2 * 16];
	__u32 sum = 0;
	__u16 csum;
	int err;

	if (p->f->family == AF_INET6 && version == 1)
		return -EAFNOSUPPORT;

	err = mr_frame_eth(frame, p->f, mr_router_mac, dst);
	err = err ?: mr_frame_ip(frame, p->f, src, dst,
				 version == 1 ? IPPROTO_IGMP : IPPROTO_PIM,
				 64, len);
	if (err)
		return err;
	pim = frame->data + frame->len;
	memcpy(pim, version == 1 ? v1 : v2, sizeof(v1));
	frame->len += sizeof(v1);
	err = mr_frame_ip_udp(frame, p->f, p->other_source, p->group, 64, 5000,
			      MR_REGISTER_PAYLOAD);
	if (err)
		return err;
	/* PIMv2 only checksums its own header, IGMP the whole message. IPv6
	 * adds a pseudo header.
	 */
	if (p->f->family == AF_INET6) {
		if (mr_addr(p->f, src, pseudo) ||
		    mr_addr(p->f, dst, pseudo + 16))
			return -EINVAL;
		sum = IPPROTO_PIM + sizeof(v2) +
		      (__u16)~ntohs(mr_csum(pseudo, sizeof(pseudo), 0));
	}
	csum = mr_csum(pim, version == 1 ? len : sizeof(v2), sum);
	memcpy(pim + 2, &csum, sizeof(csum));
	return 0;
}

/* Opens a send-only packet socket in @ns. */
static inline int mr_packet_socket(int ns, int type)
{
	return mr_socket(ns, AF_PACKET, type, 0);
}

/* A SOCK_DGRAM socket wants the frame without its Ethernet header. */
static inline int mr_packet_send(int sk, int type, int ifindex,
				 const struct mr_frame *frame)
{
	const struct ethhdr *eth = (void *)frame->data;
	size_t skip = type == SOCK_DGRAM ? ETH_HLEN : 0;
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = eth->h_proto,
		.sll_ifindex = ifindex,
		.sll_halen = ETH_ALEN,
	};
	int ret;

	ret = mr_err(sendto(sk, frame->data + skip, frame->len - skip, 0,
			    (struct sockaddr *)&sll, sizeof(sll)));
	return ret < 0 ? ret : 0;
}

#endif /* _MROUTE_LIB_H */
