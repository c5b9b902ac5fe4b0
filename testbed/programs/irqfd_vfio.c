// SPDX-License-Identifier: GPL-2.0
/*
 * A device behind VFIO whose MSI is an irqfd: the two are producer and consumer of irq bypass.
 * The device is QEMU's "edu", which raises an interrupt when told to, without an IOMMU.
 *
 * Needs the fault patch irq-bypass-counted, which counts what the irq bypass manager asks of
 * KVM, and refuses if told to.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define EDU_ID		"1234 11e8"
#define EDU_RAISE	0x60
#define DRIVER		"/sys/bus/pci/drivers/vfio-pci"
#define NOIOMMU		"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
#define ASKED		"/sys/module/kvm/parameters/bypass_asked"
#define DELETED		"/sys/module/kvm/parameters/bypass_deleted"
#define REFUSE		"/sys/module/kvm_amd/parameters/bypass_refuse"
#define REFUSED		"/sys/module/kvm_amd/parameters/bypass_refused"

/* The I/O APIC has the first 24 */
#define GSI		24
#define VECTOR		0x40
#define OTHER_VECTOR	0x51
#define APIC_SPIV	0xf0
#define APIC_IRR	0x200
#define ROUNDS		50
#define CHURN_SECONDS	5

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static long read_number(const char *path)
{
	FILE *f = fopen(path, "r");
	long value = -1;

	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

/* The device that vfio-pci has, by its address */
static bool find_device(char *name, size_t size)
{
	DIR *dir = opendir(DRIVER);
	struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		found = strchr(e->d_name, ':');
		if (found)
			snprintf(name, size, "%s", e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

FIXTURE(vfio)
{
	int container, group, device;
	int kvm, vm, vcpu;
	int eventfd;
	uint64_t config, bar;
	/* What was counted before */
	long asked, refused, deleted;
};

static bool region(int device, int index, uint64_t *offset)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return false;
	*offset = info.offset;
	return true;
}

static bool set_route(int vm, uint8_t vector)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry = {
			.gsi = GSI,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = 0xfee00000, .data = vector },
		},
	};

	return !ioctl(vm, KVM_SET_GSI_ROUTING, &routing);
}

static bool set_irqfd(int vm, int fd, uint32_t flags)
{
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = GSI, .flags = flags };

	return !ioctl(vm, KVM_IRQFD, &irqfd);
}

/* The device's only MSI signals this eventfd, or none if fd is -1 */
static bool set_trigger(int device, int fd)
{
	union {
		struct vfio_irq_set set;
		char room[sizeof(struct vfio_irq_set) + sizeof(int)];
	} u = {
		.set = {
			.argsz = sizeof(u.room),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_MSI_IRQ_INDEX,
			.count = 1,
		},
	};

	memcpy(u.set.data, &fd, sizeof(fd));
	return !ioctl(device, VFIO_DEVICE_SET_IRQS, &u.set);
}

static bool raise_interrupt(FIXTURE_DATA(vfio) *self)
{
	uint32_t one = 1;

	return pwrite(self->device, &one, sizeof(one), self->bar + EDU_RAISE) == sizeof(one);
}

static uint32_t *reg(struct kvm_lapic_state *apic, int offset)
{
	return (uint32_t *)(apic->regs + offset);
}

/* True if the vector is pending; then it no longer is. */
static bool take_pending(int vcpu, int vector)
{
	int offset = APIC_IRR + vector / 32 * 0x10;
	uint32_t bit = 1u << vector % 32;
	struct kvm_lapic_state apic;

	if (ioctl(vcpu, KVM_GET_LAPIC, &apic) || !(*reg(&apic, offset) & bit))
		return false;
	*reg(&apic, offset) &= ~bit;
	return !ioctl(vcpu, KVM_SET_LAPIC, &apic);
}

static bool comes(int vcpu, int vector)
{
	int i;

	for (i = 0; i < 10000; i++) {
		if (take_pending(vcpu, vector))
			return true;
		usleep(1000);
	}
	return false;
}

/* True if the eventfd is signaled once, where no irqfd takes that away. */
static bool is_signaled(int fd)
{
	uint64_t count;
	int i;

	for (i = 0; i < 10000; i++) {
		if (read(fd, &count, sizeof(count)) == sizeof(count))
			return count == 1;
		usleep(1000);
	}
	return false;
}

FIXTURE_SETUP(vfio)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	struct kvm_lapic_state apic;
	char name[64];

	ASSERT_TRUE(write_file(REFUSE, "0")) TH_LOG("this kernel lacks the fault patch");
	ASSERT_TRUE(write_file(NOIOMMU, "Y"));
	if (!find_device(name, sizeof(name))) {
		ASSERT_TRUE(write_file(DRIVER "/new_id", EDU_ID));
		ASSERT_TRUE(find_device(name, sizeof(name))) TH_LOG("the machine has no device edu");
	}

	self->container = open("/dev/vfio/vfio", O_RDWR);
	ASSERT_GE(self->container, 0);
	self->group = open("/dev/vfio/noiommu-0", O_RDWR);
	ASSERT_GE(self->group, 0);
	ASSERT_EQ(ioctl(self->group, VFIO_GROUP_SET_CONTAINER, &self->container), 0);
	ASSERT_EQ(ioctl(self->container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), 0);
	self->device = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, name);
	ASSERT_GE(self->device, 0);
	ASSERT_TRUE(region(self->device, VFIO_PCI_CONFIG_REGION_INDEX, &self->config));
	ASSERT_TRUE(region(self->device, VFIO_PCI_BAR0_REGION_INDEX, &self->bar));
	ASSERT_EQ(pwrite(self->device, &command, sizeof(command), self->config + PCI_COMMAND),
		  sizeof(command));

	self->kvm = open("/dev/kvm", O_RDWR);
	ASSERT_GE(self->kvm, 0);
	self->vm = ioctl(self->kvm, KVM_CREATE_VM, 0);
	ASSERT_GE(self->vm, 0);
	ASSERT_EQ(ioctl(self->vm, KVM_CREATE_IRQCHIP, 0), 0);
	self->vcpu = ioctl(self->vm, KVM_CREATE_VCPU, 0);
	ASSERT_GE(self->vcpu, 0);
	ASSERT_EQ(ioctl(self->vcpu, KVM_GET_LAPIC, &apic), 0);
	/* Enabled. The CPU never runs, so what is pending stays pending. */
	*reg(&apic, APIC_SPIV) |= 1 << 8;
	ASSERT_EQ(ioctl(self->vcpu, KVM_SET_LAPIC, &apic), 0);
	ASSERT_TRUE(set_route(self->vm, VECTOR));

	self->eventfd = eventfd(0, EFD_NONBLOCK);
	ASSERT_GE(self->eventfd, 0);
	self->asked = read_number(ASKED);
	self->refused = read_number(REFUSED);
	self->deleted = read_number(DELETED);
	ASSERT_GE(self->asked, 0);
}

FIXTURE_TEARDOWN(vfio)
{
	write_file(REFUSE, "0");
	close(self->eventfd);
	close(self->vcpu);
	close(self->vm);
	close(self->kvm);
	close(self->device);
	close(self->group);
	close(self->container);
}

static long asked(FIXTURE_DATA(vfio) *self)
{
	return read_number(ASKED) - self->asked;
}

static long refused(FIXTURE_DATA(vfio) *self)
{
	return read_number(REFUSED) - self->refused;
}

static long deleted(FIXTURE_DATA(vfio) *self)
{
	return read_number(DELETED) - self->deleted;
}

static void interrupts(struct __test_metadata *_metadata, FIXTURE_DATA(vfio) *self)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ASSERT_TRUE(raise_interrupt(self));
		ASSERT_TRUE(comes(self->vcpu, VECTOR)) TH_LOG("interrupt %d is lost", i);
	}
	ASSERT_FALSE(take_pending(self->vcpu, VECTOR));
}

/* Both ways to connect, and both ways to come apart */
TEST_F(vfio, irqfd_first)
{
	ASSERT_TRUE(set_irqfd(self->vm, self->eventfd, 0));
	ASSERT_EQ(asked(self), 0);
	ASSERT_TRUE(set_trigger(self->device, self->eventfd));
	ASSERT_EQ(asked(self), 1);
	interrupts(_metadata, self);

	ASSERT_TRUE(set_irqfd(self->vm, self->eventfd, KVM_IRQFD_FLAG_DEASSIGN));
	ASSERT_EQ(deleted(self), 1);
	ASSERT_TRUE(raise_interrupt(self));
	ASSERT_TRUE(is_signaled(self->eventfd));
	ASSERT_FALSE(take_pending(self->vcpu, VECTOR));
}

TEST_F(vfio, device_first)
{
	ASSERT_TRUE(set_trigger(self->device, self->eventfd));
	ASSERT_TRUE(raise_interrupt(self));
	ASSERT_TRUE(is_signaled(self->eventfd));
	ASSERT_TRUE(set_irqfd(self->vm, self->eventfd, 0));
	ASSERT_EQ(asked(self), 1);
	interrupts(_metadata, self);

	ASSERT_TRUE(set_trigger(self->device, -1));
	ASSERT_EQ(deleted(self), 1);
	ASSERT_TRUE(set_trigger(self->device, self->eventfd));
	ASSERT_EQ(asked(self), 2);
	interrupts(_metadata, self);
	/* The VM goes first, and takes the irqfd with it */
	close(self->vcpu);
	close(self->vm);
	self->vcpu = -1;
	self->vm = -1;
	ASSERT_EQ(deleted(self), 2);
	ASSERT_TRUE(raise_interrupt(self));
	ASSERT_TRUE(is_signaled(self->eventfd));
}

/* The device gets another eventfd, so the two are no longer peers */
TEST_F(vfio, eventfd_replaced)
{
	int other = eventfd(0, EFD_NONBLOCK);

	ASSERT_GE(other, 0);
	ASSERT_TRUE(set_irqfd(self->vm, self->eventfd, 0));
	ASSERT_TRUE(set_trigger(self->device, self->eventfd));
	ASSERT_EQ(asked(self), 1);
	ASSERT_TRUE(set_trigger(self->device, other));
	ASSERT_EQ(deleted(self), 1);
	ASSERT_EQ(asked(self), 1);
	ASSERT_TRUE(raise_interrupt(self));
	ASSERT_TRUE(is_signaled(other));
	ASSERT_FALSE(take_pending(self->vcpu, VECTOR));

	ASSERT_TRUE(set_irqfd(self->vm, other, 0));
	ASSERT_EQ(asked(self), 2);
	interrupts(_metadata, self);
	close(other);
}

/* What refused a producer must not look at it again: VFIO has freed it. */
TEST_F(vfio, refused)
{
	int i;

	ASSERT_TRUE(set_irqfd(self->vm, self->eventfd, 0));
	ASSERT_TRUE(write_file(REFUSE, "1"));
	for (i = 1; i <= ROUNDS; i++) {
		ASSERT_TRUE(set_trigger(self->device, self->eventfd));
		ASSERT_EQ(refused(self), i);
		/* It works all the same, through the eventfd */
		ASSERT_TRUE(raise_interrupt(self));
		ASSERT_TRUE(comes(self->vcpu, VECTOR));
		ASSERT_TRUE(set_trigger(self->device, -1));
		ASSERT_TRUE(set_route(self->vm, OTHER_VECTOR));
		ASSERT_TRUE(set_route(self->vm, VECTOR));
	}
	ASSERT_EQ(deleted(self), 0);

	ASSERT_TRUE(write_file(REFUSE, "0"));
	ASSERT_TRUE(set_trigger(self->device, self->eventfd));
	ASSERT_EQ(refused(self), ROUNDS);
	interrupts(_metadata, self);
	ASSERT_TRUE(set_trigger(self->device, -1));
	ASSERT_EQ(deleted(self), 1);
}

struct churn {
	FIXTURE_DATA(vfio) *self;
	bool (*once)(FIXTURE_DATA(vfio) *self);
	volatile bool *stop;
	long rounds;
	bool failed;
};

static bool assign_and_deassign(FIXTURE_DATA(vfio) *self)
{
	return set_irqfd(self->vm, self->eventfd, 0) &&
	       set_irqfd(self->vm, self->eventfd, KVM_IRQFD_FLAG_DEASSIGN);
}

static bool trigger_and_none(FIXTURE_DATA(vfio) *self)
{
	return set_trigger(self->device, self->eventfd) && set_trigger(self->device, -1);
}

static bool route_and_back(FIXTURE_DATA(vfio) *self)
{
	return set_route(self->vm, OTHER_VECTOR) && set_route(self->vm, VECTOR);
}

static void *churn(void *arg)
{
	struct churn *c = arg;

	while (!*c->stop && !c->failed) {
		c->failed = !c->once(c->self);
		c->rounds++;
	}
	return NULL;
}

/* All at once; KASAN and lockdep watch. Each connection ends, once. */
TEST_F(vfio, churn)
{
	volatile bool stop = false;
	struct churn churns[] = {
		{ self, assign_and_deassign, &stop },
		{ self, trigger_and_none, &stop },
		{ self, route_and_back, &stop },
		{ self, raise_interrupt, &stop },
	};
	pthread_t threads[ARRAY_SIZE(churns)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(churns); i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
	sleep(CHURN_SECONDS);
	stop = true;
	for (i = 0; i < ARRAY_SIZE(churns); i++) {
		pthread_join(threads[i], NULL);
		EXPECT_FALSE(churns[i].failed);
		EXPECT_GT(churns[i].rounds, 1);
	}
	TH_LOG("%ld assigns, %ld triggers, %ld routes, %ld interrupts, %ld connections",
	       churns[0].rounds, churns[1].rounds, churns[2].rounds, churns[3].rounds, asked(self));
	EXPECT_GT(asked(self), 0);
	EXPECT_EQ(asked(self), deleted(self));
}

TEST_HARNESS_MAIN
