// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the IRQ bypass manager: who is connected with whom, and how
 * often each callback ran.
 */
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/irqbypass.h>

/* Enough for buckets of the manager with several entries */
#define MANY	2048

struct test_producer {
	struct irq_bypass_producer prod;
	struct irq_bypass_consumer *peer;
	int refuse;
	int added, deleted;
	/* It is quiet while this is above 0 */
	int stopped;
	int stops;
};

struct test_consumer {
	struct irq_bypass_consumer cons;
	struct irq_bypass_producer *peer;
	int refuse;
	int added, deleted;
	int stopped;
	int stops;
	/* Connected or disconnected while not both were quiet */
	bool loud;
};

static int add_consumer(struct irq_bypass_producer *prod,
			struct irq_bypass_consumer *cons)
{
	struct test_producer *p = container_of(prod, struct test_producer, prod);

	if (p->refuse)
		return p->refuse;
	p->peer = cons;
	p->added++;
	return 0;
}

static void del_consumer(struct irq_bypass_producer *prod,
			 struct irq_bypass_consumer *cons)
{
	struct test_producer *p = container_of(prod, struct test_producer, prod);

	if (p->peer == cons)
		p->peer = NULL;
	p->deleted++;
}

static void stop_producer(struct irq_bypass_producer *prod)
{
	struct test_producer *p = container_of(prod, struct test_producer, prod);

	p->stopped++;
	p->stops++;
}

static void start_producer(struct irq_bypass_producer *prod)
{
	container_of(prod, struct test_producer, prod)->stopped--;
}

static bool is_stopped(struct irq_bypass_producer *prod)
{
	return container_of(prod, struct test_producer, prod)->stopped;
}

static int add_producer(struct irq_bypass_consumer *cons,
			struct irq_bypass_producer *prod)
{
	struct test_consumer *c = container_of(cons, struct test_consumer, cons);

	if (!c->stopped || !is_stopped(prod))
		c->loud = true;
	if (c->refuse)
		return c->refuse;
	c->peer = prod;
	c->added++;
	return 0;
}

static void del_producer(struct irq_bypass_consumer *cons,
			 struct irq_bypass_producer *prod)
{
	struct test_consumer *c = container_of(cons, struct test_consumer, cons);

	if (!c->stopped || !is_stopped(prod))
		c->loud = true;
	if (c->peer == prod)
		c->peer = NULL;
	c->deleted++;
}

static void stop_consumer(struct irq_bypass_consumer *cons)
{
	struct test_consumer *c = container_of(cons, struct test_consumer, cons);

	c->stopped++;
	c->stops++;
}

static void start_consumer(struct irq_bypass_consumer *cons)
{
	container_of(cons, struct test_consumer, cons)->stopped--;
}

static void init_producer(struct test_producer *p, void *token)
{
	*p = (struct test_producer) {
		.prod = {
			.token = token,
			.add_consumer = add_consumer,
			.del_consumer = del_consumer,
			.stop = stop_producer,
			.start = start_producer,
		},
	};
}

static void init_consumer(struct test_consumer *c, void *token)
{
	*c = (struct test_consumer) {
		.cons = {
			.token = token,
			.add_producer = add_producer,
			.del_producer = del_producer,
			.stop = stop_consumer,
			.start = start_consumer,
		},
	};
}

/* A test that gives up must leave nothing registered that is freed then. */
KUNIT_DEFINE_ACTION_WRAPPER(unregister_producer, irq_bypass_unregister_producer,
			    struct irq_bypass_producer *);
KUNIT_DEFINE_ACTION_WRAPPER(unregister_consumer, irq_bypass_unregister_consumer,
			    struct irq_bypass_consumer *);

static struct test_producer *new_producer(struct kunit *test, void *token)
{
	struct test_producer *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	init_producer(p, token);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister_producer, &p->prod), 0);
	return p;
}

static struct test_consumer *new_consumer(struct kunit *test, void *token)
{
	struct test_consumer *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	init_consumer(c, token);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister_consumer, &c->cons), 0);
	return c;
}

/* Connected @times times so far, and the pair is connected now, or not. */
static void expect_pair(struct kunit *test, struct test_producer *p,
			struct test_consumer *c, int times, bool now)
{
	KUNIT_EXPECT_PTR_EQ(test, p->peer, now ? &c->cons : NULL);
	KUNIT_EXPECT_PTR_EQ(test, c->peer, now ? &p->prod : NULL);
	KUNIT_EXPECT_EQ(test, p->added, times);
	KUNIT_EXPECT_EQ(test, c->added, times);
	KUNIT_EXPECT_EQ(test, p->deleted, times - now);
	KUNIT_EXPECT_EQ(test, c->deleted, times - now);
	KUNIT_EXPECT_EQ(test, p->stopped, 0);
	KUNIT_EXPECT_EQ(test, c->stopped, 0);
	KUNIT_EXPECT_EQ(test, p->stops, 2 * times - now);
	KUNIT_EXPECT_EQ(test, c->stops, 2 * times - now);
	KUNIT_EXPECT_FALSE(test, c->loud);
}

/* Whoever comes first and whoever goes first, both are told once. */
static void irqbypass_connect(struct kunit *test)
{
	struct test_producer *p = new_producer(test, test);
	struct test_consumer *c = new_consumer(test, test);

	for (int i = 0; i < 4; i++) {
		if (i & 1) {
			KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
			KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
		} else {
			KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
			KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
		}
		expect_pair(test, p, c, i + 1, true);

		if (i & 2) {
			irq_bypass_unregister_producer(&p->prod);
			expect_pair(test, p, c, i + 1, false);
			irq_bypass_unregister_consumer(&c->cons);
		} else {
			irq_bypass_unregister_consumer(&c->cons);
			expect_pair(test, p, c, i + 1, false);
			irq_bypass_unregister_producer(&p->prod);
		}
		expect_pair(test, p, c, i + 1, false);
	}
}

/* Another token is another pair; and no token is none. */
static void irqbypass_other_token(struct kunit *test)
{
	struct test_producer *p = new_producer(test, test);
	struct test_consumer *c = new_consumer(test, p);

	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
	KUNIT_EXPECT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
	expect_pair(test, p, c, 0, false);
	irq_bypass_unregister_producer(&p->prod);
	irq_bypass_unregister_consumer(&c->cons);
	expect_pair(test, p, c, 0, false);

	p->prod.token = NULL;
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&p->prod), -EINVAL);
	irq_bypass_unregister_producer(&p->prod);
	c->cons.token = NULL;
	KUNIT_EXPECT_EQ(test, irq_bypass_register_consumer(&c->cons), -EINVAL);
	irq_bypass_unregister_consumer(&c->cons);
}

/* A token has one producer and one consumer.  Who is refused changes nothing. */
static void irqbypass_busy(struct kunit *test)
{
	struct test_producer *p = new_producer(test, test);
	struct test_producer *refused_p = new_producer(test, test);
	struct test_consumer *c = new_consumer(test, test);
	struct test_consumer *refused_c = new_consumer(test, test);

	KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
	KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);

	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&p->prod), -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_bypass_register_consumer(&c->cons), -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&refused_p->prod), -EBUSY);
	KUNIT_EXPECT_EQ(test, irq_bypass_register_consumer(&refused_c->cons), -EBUSY);
	expect_pair(test, p, c, 1, true);

	/* KVM and vhost-vdpa do this */
	irq_bypass_unregister_consumer(&refused_c->cons);
	expect_pair(test, p, c, 1, true);
	irq_bypass_unregister_producer(&refused_p->prod);
	expect_pair(test, p, c, 1, true);
	expect_pair(test, refused_p, refused_c, 0, false);

	irq_bypass_unregister_producer(&p->prod);
	irq_bypass_unregister_producer(&p->prod);
	irq_bypass_unregister_consumer(&c->cons);
	irq_bypass_unregister_consumer(&c->cons);
	expect_pair(test, p, c, 1, false);
}

/* If either side cannot connect, the one that comes is not registered. */
static void irqbypass_refused(struct kunit *test)
{
	struct test_producer *p = new_producer(test, test);
	struct test_consumer *c = new_consumer(test, test);

	KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
	p->refuse = -ENODEV;
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&p->prod), -ENODEV);
	KUNIT_EXPECT_EQ(test, c->added, 0);
	p->refuse = 0;
	c->refuse = -ENOMEM;
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&p->prod), -ENOMEM);
	/* The producer was told, and told that it came to nothing */
	KUNIT_EXPECT_EQ(test, p->added, 1);
	KUNIT_EXPECT_EQ(test, p->deleted, 1);
	irq_bypass_unregister_consumer(&c->cons);
	KUNIT_EXPECT_EQ(test, c->deleted, 0);

	KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
	KUNIT_EXPECT_EQ(test, irq_bypass_register_consumer(&c->cons), -ENOMEM);
	/* Not -EBUSY: it is not registered */
	KUNIT_EXPECT_EQ(test, irq_bypass_register_consumer(&c->cons), -ENOMEM);
	KUNIT_EXPECT_EQ(test, p->added, 3);
	KUNIT_EXPECT_EQ(test, p->deleted, 3);
	irq_bypass_unregister_consumer(&c->cons);
	irq_bypass_unregister_producer(&p->prod);
	/* Nor does the producer believe that they are connected */
	KUNIT_EXPECT_EQ(test, c->deleted, 0);
	KUNIT_EXPECT_EQ(test, p->deleted, 3);
	KUNIT_EXPECT_PTR_EQ(test, p->peer, NULL);
	KUNIT_EXPECT_EQ(test, p->stopped, 0);
	KUNIT_EXPECT_EQ(test, c->stopped, 0);

	/* Nothing of it is left */
	c->refuse = 0;
	KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
	KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
	KUNIT_EXPECT_PTR_EQ(test, p->peer, &c->cons);
	KUNIT_EXPECT_PTR_EQ(test, c->peer, &p->prod);
	irq_bypass_unregister_consumer(&c->cons);
	irq_bypass_unregister_producer(&p->prod);
	KUNIT_EXPECT_EQ(test, c->added, 1);
	KUNIT_EXPECT_EQ(test, c->deleted, 1);
	KUNIT_EXPECT_FALSE(test, c->loud);
}

/* vhost-vdpa changes the token of a producer that may still be registered. */
static void irqbypass_changed_token(struct kunit *test)
{
	struct test_producer *p = new_producer(test, test);
	struct test_consumer *c = new_consumer(test, test);

	for (int i = 0; i < 2; i++) {
		p->prod.token = test;
		KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
		KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
		p->prod.token = i ? p : NULL;
		if (i) {
			irq_bypass_unregister_consumer(&c->cons);
			expect_pair(test, p, c, i + 1, false);
		}
		irq_bypass_unregister_producer(&p->prod);
		expect_pair(test, p, c, i + 1, false);
		irq_bypass_unregister_consumer(&c->cons);
	}
}

/* Then no consumer gets it until it is registered again. */
static void irqbypass_taken_token(struct kunit *test)
{
	struct test_producer *p = new_producer(test, test);
	struct test_producer *second_p = new_producer(test, test);
	struct test_consumer *c = new_consumer(test, test);
	struct test_consumer *second_c = new_consumer(test, NULL);

	KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), 0);

	/* Some of these tokens share the bucket of the old one, most do not */
	for (int i = 1; i <= 4 * MANY; i++) {
		p->prod.token = (char *)test + i;
		second_c->cons.token = p->prod.token;

		/* Neither by the new token nor by the old one */
		KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&second_c->cons), 0);
		KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
		KUNIT_ASSERT_NULL(test, p->peer);
		irq_bypass_unregister_consumer(&c->cons);
		irq_bypass_unregister_consumer(&second_c->cons);
		KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p->prod), -EBUSY);
	}
	KUNIT_EXPECT_EQ(test, second_c->added, 0);
	expect_pair(test, p, c, 0, false);

	/* Nor does another producer get the old token, with or without a consumer */
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&second_p->prod), -EBUSY);
	p->prod.token = test;
	KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c->cons), 0);
	p->prod.token = second_c->cons.token;
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&second_p->prod), -EBUSY);
	KUNIT_EXPECT_EQ(test, second_p->added, 0);
	expect_pair(test, p, c, 1, true);

	irq_bypass_unregister_producer(&p->prod);
	expect_pair(test, p, c, 1, false);
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&second_p->prod), 0);
	KUNIT_EXPECT_PTR_EQ(test, c->peer, &second_p->prod);
	irq_bypass_unregister_producer(&p->prod);
	KUNIT_EXPECT_PTR_EQ(test, c->peer, &second_p->prod);

	/* Now the new token counts */
	KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&second_c->cons), 0);
	KUNIT_EXPECT_EQ(test, irq_bypass_register_producer(&p->prod), 0);
	KUNIT_EXPECT_PTR_EQ(test, p->peer, &second_c->cons);
	KUNIT_EXPECT_PTR_EQ(test, second_c->peer, &p->prod);
	KUNIT_EXPECT_PTR_EQ(test, c->peer, &second_p->prod);

	irq_bypass_unregister_producer(&p->prod);
	irq_bypass_unregister_producer(&second_p->prod);
	KUNIT_EXPECT_PTR_EQ(test, c->peer, NULL);
	KUNIT_EXPECT_PTR_EQ(test, second_c->peer, NULL);
	irq_bypass_unregister_consumer(&c->cons);
	irq_bypass_unregister_consumer(&second_c->cons);
	KUNIT_EXPECT_EQ(test, p->deleted, 2);
	KUNIT_EXPECT_EQ(test, second_p->deleted, 1);
	KUNIT_EXPECT_EQ(test, c->deleted, 2);
	KUNIT_EXPECT_EQ(test, second_c->deleted, 1);
	KUNIT_EXPECT_FALSE(test, c->loud);
	KUNIT_EXPECT_FALSE(test, second_c->loud);
}

/* Each of many meets its own. */
static void irqbypass_many(struct kunit *test)
{
	struct test_producer *p = kunit_kcalloc(test, MANY, sizeof(*p), GFP_KERNEL);
	struct test_consumer *c = kunit_kcalloc(test, MANY, sizeof(*c), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_NOT_NULL(test, c);
	for (i = 0; i < MANY; i++) {
		init_producer(&p[i], &p[i]);
		init_consumer(&c[i], &p[i]);
		KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister_producer,
								&p[i].prod), 0);
		KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister_consumer,
								&c[i].cons), 0);
	}

	for (i = 0; i < MANY; i++)
		KUNIT_ASSERT_EQ(test, irq_bypass_register_consumer(&c[i].cons), 0);
	for (i = MANY - 1; i >= 0; i--)
		KUNIT_ASSERT_EQ(test, irq_bypass_register_producer(&p[i].prod), 0);
	for (i = 0; i < MANY; i++)
		expect_pair(test, &p[i], &c[i], 1, true);

	for (i = 0; i < MANY; i += 2)
		irq_bypass_unregister_consumer(&c[i].cons);
	for (i = 0; i < MANY; i++)
		expect_pair(test, &p[i], &c[i], 1, i % 2);
	for (i = 0; i < MANY; i++)
		irq_bypass_unregister_producer(&p[i].prod);
	for (i = 1; i < MANY; i += 2)
		irq_bypass_unregister_consumer(&c[i].cons);
	for (i = 0; i < MANY; i++)
		expect_pair(test, &p[i], &c[i], 1, false);
}

static struct kunit_case irqbypass_test_cases[] = {
	KUNIT_CASE(irqbypass_connect),
	KUNIT_CASE(irqbypass_other_token),
	KUNIT_CASE(irqbypass_busy),
	KUNIT_CASE(irqbypass_refused),
	KUNIT_CASE(irqbypass_changed_token),
	KUNIT_CASE(irqbypass_taken_token),
	KUNIT_CASE(irqbypass_many),
	{}
};

static struct kunit_suite irqbypass_test_suite = {
	.name = "irqbypass",
	.test_cases = irqbypass_test_cases,
};

kunit_test_suite(irqbypass_test_suite);

MODULE_DESCRIPTION("KUnit tests of the IRQ bypass manager");
MODULE_LICENSE("GPL");
