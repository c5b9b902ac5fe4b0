// SPDX-License-Identifier: GPL-2.0
/*
 * Tests what multicast routing answers over netlink while it changes: dumps are
 * complete or say that they were interrupted, a single route is seen whole, and
 * nobody waits for RTNL.
 */
#include "mroute_lib.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../kselftest_harness.h"
#include "mroute_query.h"

#define TIMEOUT		300
#define PATIENCE	60	/* seconds, for an answer that should come at once */
#define VIFS		4
#define ROUTES		200	/* fill many messages */
#define DECOYS		40
#define QUERIES		100
#define ROUNDS		300
#define TABLE		100
#define MOVING		{ 1 << 0, 1 << 1 | 1 << 2 }

struct plan {
	const struct mr_family	*f;
	const char		*source;
	const char		*route;		/* printf format, with a number */
	const char		*moving;	/* group that is being changed */
};

FIXTURE(mroute_netlink) {
	int	ns;
	int	nl;		/* for changes */
	int	query;
	int	dump;		/* its messages are small */
	int	sk;
	int	link[VIFS];
};

FIXTURE_VARIANT(mroute_netlink) {
	struct plan	plan;
};

FIXTURE_VARIANT_ADD(mroute_netlink, ipv4) {
	.plan = {
		.f	= &mr_ipv4,
		.source	= "10.0.0.9",
		.route	= "239.1.0.%d",
		.moving	= "239.2.0.1",
	},
};

FIXTURE_VARIANT_ADD(mroute_netlink, ipv6) {
	.plan = {
		.f	= &mr_ipv6,
		.source	= "fd00::9",
		.route	= "ff15::1:%x",
		.moving	= "ff15::2:1",
	},
};

static int group_route(int sk, const struct plan *p, int opt, int i, __u32 oifs)
{
	char group[INET6_ADDRSTRLEN];

	snprintf(group, sizeof(group), p->route, i);
	return mr_mfc(sk, p->f, opt, p->source, group, 0, oifs);
}

/* A socket that gives up */
static int query_open(int ns)
{
	const struct timeval patience = { .tv_sec = PATIENCE };
	int nl = mr_nl_open(ns);

	if (nl >= 0 && setsockopt(nl, SOL_SOCKET, SO_RCVTIMEO, &patience,
				  sizeof(patience)))
		return -errno;
	return nl;
}

FIXTURE_SETUP(mroute_netlink)
{
	const struct plan *p = &variant->plan;
	char name[8];
	int i;

	if (geteuid())
		SKIP(return, "needs root");
	self->ns = mr_ns_new();
	ASSERT_LE(0, self->ns);
	self->nl = mr_nl_open(self->ns);
	ASSERT_LE(0, self->nl);
	self->query = query_open(self->ns);
	ASSERT_LE(0, self->query);
	self->dump = query_open(self->ns);
	ASSERT_LE(0, self->dump);
	self->sk = mr_router(self->ns, p->f);
	if (self->sk == -ENOPROTOOPT || self->sk == -EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_IP_MROUTE or CONFIG_IPV6_MROUTE");
	ASSERT_LE(0, self->sk);
	for (i = 0; i < VIFS; i++) {
		sprintf(name, "d%d", i);
		ASSERT_EQ(0, mr_link_add(self->nl, name, "dummy", NULL));
		ASSERT_EQ(0, mr_link_up(self->nl, name));
		self->link[i] = mr_link_index(self->nl, name);
		ASSERT_EQ(0, mr_vif_add(self->sk, p->f, i, self->link[i]));
	}
	/* In front of the others, to be deleted: what comes behind moves up. */
	for (i = 0; i < DECOYS; i++)
		ASSERT_EQ(0, group_route(self->sk, p, MRT_ADD_MFC, ROUTES + i,
					 1 << 1));
	for (i = 0; i < ROUTES; i++)
		ASSERT_EQ(0, group_route(self->sk, p, MRT_ADD_MFC, i, 1 << 1));
}

/* The namespace goes away with the sockets of this process. */
FIXTURE_TEARDOWN(mroute_netlink)
{
}

/* What a dump said. */
struct dump {
	const struct plan	*p;
	int			seen[ROUTES];
	int			n;		/* messages about routes or tables */
	bool			intr;
	unsigned int		sum;		/* of all that cannot differ */
	const char		*wrong;
};

static void dump_route(struct dump *dump, const struct nlmsghdr *nh)
{
	static const int types[] = {
		RTA_TABLE, RTA_SRC, RTA_DST, RTA_IIF, RTA_MULTIPATH,
		RTA_MFC_STATS, RTA_EXPIRES,
	};
	const struct mr_family *f = dump->p->f;
	const __u8 *dst = mr_route_attr(nh, RTA_DST);
	const struct rtmsg *rtm = NLMSG_DATA(nh);
	const struct nlattr *nla;
	__u8 first[16];
	size_t i;

	if (rtm->rtm_family != f->rtnl_family)
		return;
	if (!dst) {
		dump->wrong = "a route without RTA_DST";
		return;
	}
	/* Is it one of those that do not change? */
	if (mr_addr(f, f->family == AF_INET ? "239.1.0.0" : "ff15::1:0", first) ||
	    memcmp(first, dst, f->addr_len - 1) ||
	    dst[f->addr_len - 1] >= ROUTES)
		return;
	dump->seen[dst[f->addr_len - 1]]++;

	nla = (void *)((char *)nh + NLMSG_SPACE(sizeof(struct rtmsg)));
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		/* Pads the 64-bit attribute behind it. */
		if ((nla->nla_type & NLA_TYPE_MASK) == RTA_PAD)
			nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len));
		if ((nla->nla_type & NLA_TYPE_MASK) != types[i])
			dump->wrong = "the attributes of a route";
		dump->sum = dump->sum * 31 + nla->nla_type + nla->nla_len;
		if (types[i] != RTA_MFC_STATS && types[i] != RTA_EXPIRES)
			for (int k = NLA_HDRLEN; k < nla->nla_len; k++)
				dump->sum = dump->sum * 31 + ((__u8 *)nla)[k];
		nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len));
	}
	if ((char *)nla != (char *)nh + nh->nlmsg_len)
		dump->wrong = "the length of a route";
}

/* Reads one message of a dump. Returns 0 at its end, 1 before. */
static int dump_recv(int nl, struct dump *dump)
{
	struct nlmsghdr *nh;
	__u32 buf[2048];
	unsigned int left;
	int len;

	len = mr_err(recv(nl, buf, sizeof(buf), MSG_TRUNC));
	if (len < 0 || len > (int)sizeof(buf))
		return len < 0 ? len : -EMSGSIZE;
	left = len;
	for (nh = (void *)buf; NLMSG_OK(nh, left); nh = NLMSG_NEXT(nh, left)) {
		if (nh->nlmsg_flags & NLM_F_DUMP_INTR)
			dump->intr = true;
		/* Both have an error first. At the end it is 0, or negative. */
		if (nh->nlmsg_type == NLMSG_ERROR || nh->nlmsg_type == NLMSG_DONE)
			return *(int *)NLMSG_DATA(nh);
		dump->n++;
		if (nh->nlmsg_type == RTM_NEWROUTE)
			dump_route(dump, nh);
	}
	return 1;
}

static int dump_start(int nl, const struct plan *p, int type, struct dump *dump)
{
	struct ifinfomsg ifi = { .ifi_family = p->f->rtnl_family };
	struct rtmsg rtm = { .rtm_family = p->f->rtnl_family };
	struct mr_nlreq req;

	memset(dump, 0, sizeof(*dump));
	dump->p = p;
	if (type == RTM_GETROUTE)
		mr_nl_begin(&req, type, NLM_F_DUMP, &rtm, sizeof(rtm));
	else
		mr_nl_begin(&req, type, NLM_F_DUMP, &ifi, sizeof(ifi));
	return send(nl, &req, req.nh.nlmsg_len, 0) < 0 ? -errno : 0;
}

static int dump_end(int nl, struct dump *dump)
{
	int ret;

	do {
		ret = dump_recv(nl, dump);
	} while (ret > 0);
	return ret;
}

static int dump_all(int nl, const struct plan *p, struct dump *dump)
{
	int err = dump_start(nl, p, RTM_GETROUTE, dump);

	return err ?: dump_end(nl, dump);
}

static bool is_complete(const struct dump *dump)
{
	int i;

	for (i = 0; i < ROUTES; i++)
		if (dump->seen[i] != 1)
			return false;
	return !dump->wrong;
}

/* A dump of a table that does not change has each route once. */
TEST_F_TIMEOUT(mroute_netlink, quiet, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct mr_table_info info;
	struct dump dump, again;
	int i;

	ASSERT_EQ(0, dump_all(self->dump, p, &dump));
	EXPECT_TRUE(is_complete(&dump));
	EXPECT_EQ(NULL, dump.wrong) {
		TH_LOG("wrong: %s", dump.wrong);
	}
	EXPECT_EQ(ROUTES + DECOYS, dump.n);
	EXPECT_FALSE(dump.intr);
	ASSERT_EQ(0, dump_all(self->dump, p, &again));
	EXPECT_TRUE(is_complete(&again));
	EXPECT_EQ(dump.sum, again.sum);
	EXPECT_FALSE(again.intr);
	TH_LOG("%d routes, checksum %08x", dump.n, dump.sum);

	if (p->f->family == AF_INET6)
		return;
	ASSERT_EQ(1, mr_table_get(self->dump, p->f, 0, &info));
	EXPECT_EQ(VIFS, info.vifs);
	for (i = 0; i < VIFS; i++)
		EXPECT_EQ(self->link[i], info.links[i]);
}

enum change_of {
	NONE, ROUTE_DEL, ROUTE_ADD, ROUTE_REPLACE, VIF_DEL, VIF_ADD, PIM_ON, PIM_OFF
};

static int make_change(int sk, const struct plan *p, enum change_of change,
		       const int *link)
{
	switch (change) {
	case ROUTE_DEL:
		return group_route(sk, p, MRT_DEL_MFC, 0, 0);
	case ROUTE_ADD:
		return group_route(sk, p, MRT_ADD_MFC, 0, 1 << 1);
	case ROUTE_REPLACE:
		return group_route(sk, p, MRT_ADD_MFC, 0, 1 << 2);
	case VIF_DEL:
		return mr_vif_del(sk, p->f, VIFS - 1);
	case VIF_ADD:
		return mr_vif_add(sk, p->f, VIFS - 1, link[VIFS - 1]);
	case PIM_ON:
	case PIM_OFF:
		return mr_setopt(sk, p->f, MRT_PIM, change == PIM_ON);
	default:
		return 0;
	}
}

/* What can be done in place of a change, and then undone by it */
static enum change_of opposite(enum change_of change)
{
	switch (change) {
	case ROUTE_DEL:
		return ROUTE_ADD;
	case ROUTE_ADD:
		return ROUTE_DEL;
	case VIF_DEL:
		return VIF_ADD;
	case VIF_ADD:
		return VIF_DEL;
	case PIM_ON:
		return PIM_OFF;
	case PIM_OFF:
		return PIM_ON;
	default:
		return change;
	}
}

/* A dump for one output device has the routes that use it, and a dump of all
 * families has each route once.
 */
TEST_F_TIMEOUT(mroute_netlink, filtered, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	const int want[VIFS] = { 0, ROUTES + DECOYS - 1, 1, 0 };
	struct rtmsg rtm = { .rtm_family = p->f->rtnl_family };
	int nl = query_open(self->ns);
	struct mr_nlreq req;
	struct dump dump;
	int one = 1, i;

	ASSERT_LE(0, nl);
	ASSERT_EQ(0, setsockopt(nl, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one,
				sizeof(one)));
	ASSERT_EQ(0, make_change(self->sk, p, ROUTE_REPLACE, NULL));
	for (i = 0; i < VIFS; i++) {
		mr_nl_begin(&req, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
		mr_nl_put_u32(&req, RTA_OIF, self->link[i]);
		EXPECT_EQ(want[i], mr_nl_query(nl, &req, NULL, NULL));
	}
	mr_nl_begin(&req, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
	mr_nl_put_u32(&req, RTA_OIF, self->link[VIFS - 1] + 1);
	EXPECT_EQ(-ENODEV, mr_nl_query(nl, &req, NULL, NULL));

	rtm.rtm_family = AF_UNSPEC;
	memset(&dump, 0, sizeof(dump));
	dump.p = p;
	mr_nl_begin(&req, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
	ASSERT_LT(0, send(self->dump, &req, req.nh.nlmsg_len, 0));
	ASSERT_EQ(0, dump_end(self->dump, &dump));
	EXPECT_TRUE(is_complete(&dump));
	EXPECT_FALSE(dump.intr);
	close(nl);
}

static bool is_route(enum change_of change)
{
	return change >= ROUTE_DEL && change <= ROUTE_REPLACE;
}

static bool is_pim(enum change_of change)
{
	return change == PIM_ON || change == PIM_OFF;
}

/* When something that it shows changes during a dump, one of its messages says
 * so. It may also say so for another change, but not without any.
 */
TEST_F_TIMEOUT(mroute_netlink, interrupted, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	enum change_of change, last = VIF_ADD;
	struct dump dump;

	/* RTM_GETLINK has the options, of which MRT_PIM sets more than one. */
	if (p->f->family == AF_INET &&
	    mr_setopt(self->sk, p->f, MRT_PIM, 0) != -ENOPROTOOPT)
		last = PIM_OFF;
	for (change = NONE; change <= last; change++) {
		ASSERT_EQ(0, dump_start(self->dump, p, RTM_GETROUTE, &dump));
		ASSERT_EQ(1, dump_recv(self->dump, &dump));
		ASSERT_EQ(0, make_change(self->sk, p, change, self->link));
		ASSERT_EQ(0, dump_end(self->dump, &dump));
		EXPECT_EQ(change != NONE, dump.intr || is_pim(change)) {
			TH_LOG("change %d", change);
		}

		if (p->f->family == AF_INET6)
			continue;
		ASSERT_EQ(0, dump_start(self->dump, p, RTM_GETLINK, &dump));
		ASSERT_EQ(0, make_change(self->sk, p, opposite(change),
					 self->link));
		ASSERT_EQ(0, dump_end(self->dump, &dump));
		EXPECT_EQ(change != NONE, dump.intr || is_route(change)) {
			TH_LOG("change %d, RTM_GETLINK", change);
		}
		/* As the next round expects it. */
		if (opposite(change) != change)
			ASSERT_EQ(0, make_change(self->sk, p, change,
						 self->link));
	}
}

/* RTNL, held by a thread that sets a socket option: its argument is on a page
 * that userfaultfd keeps away.
 */
struct holder {
	pthread_t	thread;
	int		uffd;
	char		*page;
	long		size;
	int		sk;
	int		ret;
};

static void *holder_run(void *arg)
{
	struct holder *h = arg;

	h->ret = mr_err(setsockopt(h->sk, IPPROTO_IP, MRT_ADD_VIF, h->page,
				   sizeof(struct vifctl)));
	return NULL;
}

static int holder_start(struct holder *h)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffd_msg msg;
	struct pollfd pfd;

	h->size = sysconf(_SC_PAGESIZE);
	h->uffd = mr_err(syscall(SYS_userfaultfd, O_CLOEXEC));
	if (h->uffd < 0)
		return -EOPNOTSUPP;
	pfd = (struct pollfd){ .fd = h->uffd, .events = POLLIN };
	h->page = mmap(NULL, h->size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h->page == MAP_FAILED || ioctl(h->uffd, UFFDIO_API, &api))
		return -errno;
	reg.range.start = (__u64)h->page;
	reg.range.len = h->size;
	if (ioctl(h->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	h->sk = mr_router(-1, &mr_ipv4);
	if (h->sk < 0)
		return h->sk;
	if (pthread_create(&h->thread, NULL, holder_run, h))
		return -EAGAIN;
	/* The option has come to its argument, so it has RTNL. */
	if (poll(&pfd, 1, PATIENCE * 1000) != 1 ||
	    read(h->uffd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return -EIO;
	return 0;
}

/* Lets the option go on. VIF 0 on no link is refused. */
static int holder_end(struct holder *h)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (__u64)h->page, .len = h->size },
	};

	if (ioctl(h->uffd, UFFDIO_ZEROPAGE, &zero))
		return -errno;
	pthread_join(h->thread, NULL);
	close(h->sk);
	return h->ret;
}

struct waiter {
	pthread_t	thread;
	int		nl;
	int		ret;
	bool		started, done;
};

static void *waiter_run(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->started, true, __ATOMIC_RELEASE);
	w->ret = mr_link_add(w->nl, "waiter", "dummy", NULL);
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

struct asker {
	const struct plan	*p;
	int			nl;
	int			dump;
	int			answers;
	int			err;
};

static void *asker_run(void *arg)
{
	struct asker *a = arg;
	struct mr_route route;
	struct dump dump;
	char group[INET6_ADDRSTRLEN];
	int i, ret;

	for (i = 0; i < QUERIES && !a->err; i++) {
		snprintf(group, sizeof(group), a->p->route, i);
		ret = mr_route_get(a->nl, a->p->f, 0, a->p->source, group,
				   a->p->f->default_table, &route);
		if (ret != 1)
			a->err = ret < 0 ? ret : -ENOMSG;
		a->answers += !a->err;
	}
	ret = a->err ?: dump_all(a->dump, a->p, &dump);
	if (!ret && !is_complete(&dump))
		ret = -EBADMSG;
	a->answers += !ret;
	if (!ret && a->p->f->family == AF_INET) {
		ret = dump_start(a->dump, a->p, RTM_GETLINK, &dump);
		ret = ret ?: dump_end(a->dump, &dump);
		a->answers += !ret && dump.n == 1;
	}
	a->err = ret;
	return NULL;
}

/* All questions are answered while somebody holds RTNL. */
TEST_F_TIMEOUT(mroute_netlink, rtnl_held, TIMEOUT)
{
	struct waiter waiter = { .nl = self->nl };
	struct asker asker = {
		.p = &variant->plan,
		.nl = self->query,
		.dump = self->dump,
	};
	bool v4 = variant->plan.f->family == AF_INET;
	struct holder holder = {};
	struct timespec limit;
	pthread_t thread;
	bool held;
	int err;

	/* The holder is a router of another namespace. */
	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	err = holder_start(&holder);
	if (err == -EOPNOTSUPP || err == -ENOPROTOOPT)
		SKIP(return, "needs userfaultfd and CONFIG_IP_MROUTE");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, pthread_create(&waiter.thread, NULL, waiter_run, &waiter));
	while (!__atomic_load_n(&waiter.started, __ATOMIC_ACQUIRE))
		usleep(1000);
	usleep(100000);
	ASSERT_EQ(0, pthread_create(&thread, NULL, asker_run, &asker));

	/* A question that waits for RTNL would wait in send(). */
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += PATIENCE;
	err = pthread_timedjoin_np(thread, NULL, &limit);
	EXPECT_EQ(0, err) {
		TH_LOG("no answer while RTNL is held");
	}
	held = !__atomic_load_n(&waiter.done, __ATOMIC_ACQUIRE);

	EXPECT_EQ(-EADDRNOTAVAIL, holder_end(&holder));
	if (err)
		pthread_join(thread, NULL);
	EXPECT_EQ(0, asker.err);
	EXPECT_EQ(QUERIES + 1 + v4, asker.answers);
	pthread_join(waiter.thread, NULL);
	EXPECT_TRUE(waiter.done);
	EXPECT_EQ(0, waiter.ret);
	/* Then all of this has shown nothing. */
	if (!held && __test_passed(_metadata))
		SKIP(return, "setsockopt() holds nobody else's RTNL");
}

/* A thread that changes what can be changed until it is told to stop. */
struct churn {
	pthread_t		thread;
	const struct plan	*p;
	int			sk;
	int			ns;
	const int		*link;
	__u32			oifs[2];	/* of the moving route, in turn */
	bool			keep;		/* only replace it */
	bool			stop;
	bool			pause, paused;
	int			decoys;		/* to delete so far */
	unsigned long		rounds;
	const char		*wrong;
};

/* True until the thread is told to stop */
static bool churn_goes_on(struct churn *c)
{
	while (__atomic_load_n(&c->pause, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		__atomic_store_n(&c->paused, true, __ATOMIC_RELEASE);
		usleep(100);
	}
	__atomic_store_n(&c->paused, false, __ATOMIC_RELEASE);
	return !c->wrong && !__atomic_load_n(&c->stop, __ATOMIC_RELAXED);
}

/* Returns false if the thread takes too long to do it, or has failed. */
static bool churn_pause(struct churn *c, bool pause)
{
	time_t end = time(NULL) + PATIENCE;

	__atomic_store_n(&c->pause, pause, __ATOMIC_RELEASE);
	while (__atomic_load_n(&c->paused, __ATOMIC_ACQUIRE) != pause) {
		if (time(NULL) >= end)
			return false;
		usleep(100);
	}
	return true;
}

static void *churn_routes(void *arg)
{
	struct churn *c = arg;
	const struct plan *p = c->p;
	int i = 0, decoys = 0;

	while (churn_goes_on(c)) {
		/* Replaced again and again, deleted now and then */
		if (mr_mfc(c->sk, p->f, MRT_ADD_MFC, p->source, p->moving, 0,
			   c->oifs[i & 1]))
			c->wrong = "MRT_ADD_MFC";
		if (++i % 16 == 0 && !c->keep &&
		    mr_mfc(c->sk, p->f, MRT_DEL_MFC, p->source, p->moving, 0, 0))
			c->wrong = "MRT_DEL_MFC";
		if (decoys < __atomic_load_n(&c->decoys, __ATOMIC_RELAXED) &&
		    group_route(c->sk, p, MRT_DEL_MFC, ROUTES + decoys++, 0))
			c->wrong = "MRT_DEL_MFC of a decoy";
		__atomic_add_fetch(&c->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* VIFs, tables, and a namespace that dies with all of these */
static void *churn_rest(void *arg)
{
	struct churn *c = arg;
	const struct plan *p = c->p;
	int i = 0, ns, sk, err;

	while (churn_goes_on(c)) {
		if (mr_vif_del(c->sk, p->f, VIFS - 1) ||
		    mr_vif_add(c->sk, p->f, VIFS - 1, c->link[VIFS - 1]))
			c->wrong = "MRT_DEL_VIF, MRT_ADD_VIF";
		sk = mr_sock(c->ns, p->f);
		err = mr_setopt(sk, p->f, MRT_TABLE, TABLE + i++ % 50);
		if (err && err != -ENOPROTOOPT)
			c->wrong = "MRT_TABLE";
		close(sk);

		ns = mr_ns_new();
		sk = mr_router(ns, p->f);
		if (sk < 0 || group_route(sk, p, MRT_ADD_MFC, 0, 0))
			c->wrong = "a namespace";
		close(sk);
		close(ns);
		__atomic_add_fetch(&c->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

struct oifs {
	int		links[VIFS];
	int		n;
};

static void oifs_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct nlattr *nla;
	struct rtnexthop *nhp;
	struct oifs *oifs = arg;
	int left;

	nla = mr_nl_msg_attr(nh, sizeof(struct rtmsg), RTA_MULTIPATH);
	if (nh->nlmsg_type != RTM_NEWROUTE || !nla)
		return;
	left = nla->nla_len - NLA_HDRLEN;
	for (nhp = (void *)(nla + 1); RTNH_OK(nhp, left) && oifs->n < VIFS;
	     left -= RTNH_ALIGN(nhp->rtnh_len), nhp = RTNH_NEXT(nhp))
		oifs->links[oifs->n++] = nhp->rtnh_ifindex;
}

/* Asks for the route that is being changed: itself, or with @family AF_INET or
 * AF_INET6, what a packet for it would meet on the first link. Returns NULL or
 * a description of what is wrong. Counts in @found how often the route was
 * there with the first and the second of its sets of VIFs.
 */
static const char *get_moving(int nl, const struct plan *p, int family,
			      const int *link, unsigned long *found)
{
	struct rtmsg rtm = {
		.rtm_family = family,
		.rtm_src_len = p->f->addr_len * 8,
		.rtm_dst_len = p->f->addr_len * 8,
	};
	struct oifs oifs = {};
	struct mr_nlreq req;
	__u8 bin[16];
	int ret;

	mr_nl_begin(&req, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	mr_addr(p->f, p->source, bin);
	mr_nl_put(&req, RTA_SRC, bin, p->f->addr_len);
	mr_addr(p->f, p->moving, bin);
	mr_nl_put(&req, RTA_DST, bin, p->f->addr_len);
	if (family == p->f->family)
		mr_nl_put_u32(&req, RTA_IIF, link[0]);
	ret = mr_nl_query(nl, &req, oifs_cb, &oifs);
	if (ret == -ENOENT)
		return NULL;
	if (ret != 1)
		return "RTM_GETROUTE";
	if (oifs.n == 1 && oifs.links[0] == link[0])
		found[0]++;
	else if (oifs.n == 2 && oifs.links[0] == link[1] &&
		 oifs.links[1] == link[2])
		found[1]++;
	else
		return "a route with some of its VIFs";
	return NULL;
}

/* A unicast route for one address */
static int host_route(int nl, const struct mr_family *f, const char *addr,
		      int link)
{
	struct rtmsg rtm = {
		.rtm_family = f->family,
		.rtm_dst_len = f->addr_len * 8,
		.rtm_table = RT_TABLE_LOCAL,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};
	struct mr_nlreq req;
	__u8 bin[16];

	mr_addr(f, addr, bin);
	mr_nl_begin(&req, RTM_NEWROUTE, NLM_F_CREATE, &rtm, sizeof(rtm));
	mr_nl_put(&req, RTA_DST, bin, f->addr_len);
	mr_nl_put_u32(&req, RTA_OIF, link);
	return mr_nl_talk(nl, &req);
}

static void expect_whole(struct __test_metadata *_metadata,
			 FIXTURE_DATA(mroute_netlink) * self,
			 const struct plan *p, int family)
{
	struct churn churn = {
		.p = p,
		.sk = self->sk,
		.oifs = MOVING,
		/* Else AF_INET and AF_INET6 would queue an unresolved one. */
		.keep = family == p->f->family,
	};
	time_t end = time(NULL) + PATIENCE;
	unsigned long found[2] = {};
	const char *wrong = NULL;
	int i;

	ASSERT_EQ(0, mr_mfc(self->sk, p->f, MRT_ADD_MFC, p->source, p->moving, 0,
			    churn.oifs[1]));
	ASSERT_EQ(0, pthread_create(&churn.thread, NULL, churn_routes, &churn));
	for (i = 0; !wrong && (i < ROUNDS || ((!found[0] || !found[1]) &&
					      time(NULL) < end)); i++)
		wrong = get_moving(self->query, p, family, self->link, found);
	__atomic_store_n(&churn.stop, true, __ATOMIC_RELAXED);
	pthread_join(churn.thread, NULL);
	EXPECT_EQ(NULL, churn.wrong) {
		TH_LOG("failed: %s", churn.wrong);
	}
	EXPECT_EQ(NULL, wrong) {
		TH_LOG("wrong: %s", wrong);
	}
	EXPECT_LT(0UL, found[0]);
	EXPECT_LT(0UL, found[1]);
	TH_LOG("%lu and %lu answers, %lu changes", found[0], found[1],
	       churn.rounds);
}

/* A route that is replaced is seen as it was, or as it will be. */
TEST_F_TIMEOUT(mroute_netlink, replaced, TIMEOUT)
{
	const struct plan *p = &variant->plan;

	expect_whole(_metadata, self, p, p->f->rtnl_family);
}

/* So it is as part of a unicast answer. IPv6 looks the multicast route up by the
 * addresses of the unicast route, so that must be for the group, and the
 * multicast route for any source.
 */
TEST_F_TIMEOUT(mroute_netlink, replaced_unicast, TIMEOUT)
{
	struct plan plan = variant->plan;

	if (plan.f->family == AF_INET6) {
		plan.source = "::";
		ASSERT_EQ(0, host_route(self->nl, plan.f, plan.moving,
					self->link[0]));
	}
	expect_whole(_metadata, self, &plan, plan.f->family);
}

/* A dump that skips a route, because it is just being replaced and so does not
 * seem to use the device, says so.
 */
TEST_F_TIMEOUT(mroute_netlink, filtered_replaced, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	struct churn churn = {
		.p = p,
		.sk = self->sk,
		.oifs = { 1 << 3, 1 << 3 | 1 << 0 },
		.keep = true,
	};
	struct rtmsg rtm = { .rtm_family = p->f->rtnl_family };
	int with = 0, lacking = 0, one = 1, i;
	time_t end = time(NULL) + PATIENCE;
	struct mr_nlreq req;
	struct dump dump;

	ASSERT_EQ(0, setsockopt(self->dump, SOL_NETLINK, NETLINK_GET_STRICT_CHK,
				&one, sizeof(one)));
	ASSERT_EQ(0, pthread_create(&churn.thread, NULL, churn_routes, &churn));
	while (!__atomic_load_n(&churn.rounds, __ATOMIC_RELAXED) &&
	       time(NULL) < end)
		usleep(1000);
	for (i = 0; i < ROUNDS; i++) {
		memset(&dump, 0, sizeof(dump));
		dump.p = p;
		mr_nl_begin(&req, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
		mr_nl_put_u32(&req, RTA_OIF, self->link[3]);
		ASSERT_LT(0, send(self->dump, &req, req.nh.nlmsg_len, 0));
		ASSERT_EQ(0, dump_end(self->dump, &dump));
		if (dump.n != 1 && !dump.intr)
			break;
		if (dump.n)
			with++;
		else
			lacking++;
	}
	__atomic_store_n(&churn.stop, true, __ATOMIC_RELAXED);
	pthread_join(churn.thread, NULL);
	EXPECT_EQ(NULL, churn.wrong) {
		TH_LOG("failed: %s", churn.wrong);
	}
	EXPECT_LT(0UL, churn.rounds);
	EXPECT_EQ(ROUNDS, i) {
		TH_LOG("a dump of %d routes was not interrupted", dump.n);
	}
	TH_LOG("%d dumps with the route, %d interrupted and without, %lu changes",
	       with, lacking, churn.rounds);
}

static bool all_ran(struct churn *churn, unsigned long *found)
{
	return found[0] && found[1] &&
	       __atomic_load_n(&churn[0].rounds, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&churn[1].rounds, __ATOMIC_RELAXED);
}

/* A dump that stops after its first message until a route has been replaced */
static int dump_around_change(int nl, struct churn *churn, struct dump *dump)
{
	unsigned long rounds;
	time_t end = time(NULL) + PATIENCE;
	int ret;

	ret = dump_start(nl, churn->p, RTM_GETROUTE, dump) ?: dump_recv(nl, dump);
	if (ret != 1)
		return ret ?: -EBADMSG;
	/* The round that is under way may have made its change already. */
	rounds = __atomic_load_n(&churn->rounds, __ATOMIC_RELAXED) + 2;
	while (__atomic_load_n(&churn->rounds, __ATOMIC_RELAXED) < rounds) {
		if (time(NULL) >= end)
			return -ETIMEDOUT;
		usleep(100);
	}
	return dump_end(nl, dump);
}

/* Dumps and single questions, while all that they read comes and goes. Of three
 * dumps, one has no change in it and must be whole, one has a change and must
 * be interrupted, and one can be either.
 */
TEST_F_TIMEOUT(mroute_netlink, churn, TIMEOUT)
{
	const struct plan *p = &variant->plan;
	int whole = 0, intr = 0, dumps = 0, i;
	struct churn churn[2] = {};
	unsigned long found[2] = {};
	const char *wrong = NULL;
	enum { FREE, QUIET, CHANGED } kind;
	struct dump dump;
	time_t end;
	int err;

	for (i = 0; i < 2; i++) {
		churn[i].p = p;
		churn[i].sk = self->sk;
		churn[i].ns = self->ns;
		churn[i].link = self->link;
		memcpy(churn[i].oifs, (__u32[])MOVING, sizeof(churn[i].oifs));
		ASSERT_EQ(0, pthread_create(&churn[i].thread, NULL,
					    i ? churn_rest : churn_routes,
					    &churn[i]));
	}
	end = time(NULL) + PATIENCE;
	for (i = 0; !wrong && (i < ROUNDS || (!all_ran(churn, found) &&
					      time(NULL) < end)); i++) {
		wrong = get_moving(self->query, p, p->f->rtnl_family, self->link,
				   found);
		if (wrong || i % (ROUNDS / DECOYS))
			continue;
		kind = dumps++ % 3;
		if (kind == QUIET && (!churn_pause(&churn[0], true) ||
				      !churn_pause(&churn[1], true))) {
			wrong = "no pause";
			break;
		}
		/* In the others, a decoy goes, if there are any left. */
		if (kind != QUIET && churn[0].decoys < DECOYS)
			__atomic_add_fetch(&churn[0].decoys, 1, __ATOMIC_RELAXED);
		err = kind == CHANGED ?
			dump_around_change(self->dump, &churn[0], &dump) :
			dump_all(self->dump, p, &dump);
		if (err)
			wrong = "a dump";
		else if (dump.wrong)
			wrong = dump.wrong;
		else if (dump.intr && kind == QUIET)
			wrong = "an interruption by nothing";
		else if (!dump.intr && kind == CHANGED)
			wrong = "a change that a dump does not tell of";
		else if (dump.intr)
			intr++;
		else if (!is_complete(&dump))
			wrong = "a dump that lacks routes, or has some twice";
		else
			whole++;
		if (kind == QUIET && (!churn_pause(&churn[0], false) ||
				      !churn_pause(&churn[1], false)))
			wrong = wrong ?: "no end of a pause";
		if (!wrong && p->f->family == AF_INET &&
		    (dump_start(self->dump, p, RTM_GETLINK, &dump) ||
		     dump_end(self->dump, &dump) || !dump.n))
			wrong = "a dump of VIFs";
	}
	for (i = 0; i < 2; i++) {
		__atomic_store_n(&churn[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(churn[i].thread, NULL);
		EXPECT_EQ(NULL, churn[i].wrong) {
			TH_LOG("failed: %s", churn[i].wrong);
		}
		EXPECT_LT(0UL, churn[i].rounds);
	}
	EXPECT_EQ(NULL, wrong) {
		TH_LOG("wrong: %s", wrong);
	}
	EXPECT_LT(0UL, found[0]);
	EXPECT_LT(0UL, found[1]);
	EXPECT_LT(0, whole);
	EXPECT_LT(0, intr);
	/* Nothing is left over, and nothing is missing. */
	ASSERT_EQ(0, dump_all(self->dump, p, &dump));
	EXPECT_TRUE(is_complete(&dump));
	EXPECT_FALSE(dump.intr);
	TH_LOG("%lu and %lu answers, %d dumps whole, %d interrupted, %lu and %lu changes",
	       found[0], found[1], whole, intr, churn[0].rounds, churn[1].rounds);
}

TEST_HARNESS_MAIN
