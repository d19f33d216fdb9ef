/* SPDX-License-Identifier: Apache-2.0 */
/* Local drives, in a sysfs of our own with files for devices. */
#include "t_control.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BDF    "0000:5e:00.0"
#define ATTACH "{\"name\":\"Nvme0\",\"trtype\":\"PCIe\",\"traddr\":\"" BDF "\"}"

static char root[] = "/tmp/mc-drives-XXXXXX", dev[64];

static void make_dirs(const char *path)
{
	char text[256];

	snprintf(text, sizeof(text), "%s%s", root, path);
	for (char *c = text + strlen(root) + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		mkdir(text, 0700);
		*c = '/';
	}
	mkdir(text, 0700);
}

static void write_at(const char *name, uint32_t off, const char *bytes)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dev, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(pwrite(fd, bytes, strlen(bytes), off), strlen(bytes));
	close(fd);
}

static int setup(void **state)
{
	t_begin();
	t_ctl.sysfs_root = root;
	t_ctl.dev_root = dev;
	write_at("nvme0n1", 0, "");
	write_at("nvme0n2", 0, "anybody's data, with no mark on it");
	return 0;
}

static int teardown(void **state)
{
	t_end();
	return 0;
}

static void test_attach(void **state)
{
	t_expect("bdev_nvme_get_controllers", NULL, "[]");
	t_expect("bdev_nvme_get_controllers", "{\"name\":\"Nope\"}",
		 "!-22 Controller Nope does not exist");
	t_expect("bdev_nvme_attach_controller",
		 "{\"name\":\"Nvme0\",\"trtype\":\"PCIe\",\"traddr\":"
		 "\"0000:99:00.0\"}",
		 "!-19 No such device");
	t_expect("bdev_nvme_attach_controller",
		 "{\"name\":\"Nvme0\",\"trtype\":\"PCIe\",\"traddr\":"
		 "\"../../x:y\"}",
		 "!-19 No such device");
	t_expect("bdev_nvme_attach_controller",
		 "{\"name\":\"Nvme0\",\"trtype\":\"BOGUS\",\"traddr\":\"" BDF
		 "\"}",
		 "!-19 No such device");
	json_decref(t_call("bdev_nvme_attach_controller", ATTACH));
	t_expect("bdev_nvme_attach_controller", ATTACH,
		 "!-114 A controller named Nvme0 already exists with the "
		 "specified network path");
	t_expect("bdev_get_bdevs", "{\"name\":\"Nvme0n1\"}",
		 "[{\"product_name\":\"NVMe disk\",\"num_blocks\":256,"
		 "\"driver_specific\":{\"nvme\":[{\"pci_address\":\"" BDF
		 "\"}]}}]");
	t_expect("bdev_get_bdevs", NULL, "[{},{}]");
	t_expect("bdev_nvme_get_controllers", NULL,
		 "[{\"name\":\"Nvme0\",\"ctrlrs\":[{\"state\":\"enabled\","
		 "\"trid\":{\"trtype\":\"PCIe\",\"traddr\":\"" BDF "\"}}]}]");
	t_expect("framework_get_config", "{\"name\":\"bdev\"}",
		 "[{\"method\":\"bdev_nvme_attach_controller\","
		 "\"params\":" ATTACH "}]");
}

static void test_detach_takes_namespaces_out(void **state)
{
	json_decref(t_call("bdev_nvme_attach_controller", ATTACH));
	t_expect("nvmf_create_subsystem", "{\"nqn\":\"nqn.2016-06.io.a:b\"}",
		 "true");
	t_expect("nvmf_subsystem_add_ns",
		 "{\"nqn\":\"nqn.2016-06.io.a:b\",\"namespace\":"
		 "{\"bdev_name\":\"Nvme0n2\"}}",
		 "1");
	t_expect("bdev_nvme_detach_controller", "{\"name\":\"Nvme0\"}", "true");
	t_expect("bdev_nvme_detach_controller", "{\"name\":\"Nvme0\"}",
		 "!-19 No such device");
	t_expect("bdev_get_bdevs", NULL, "[]");
	t_expect("nvmf_get_subsystems", "{\"nqn\":\"nqn.2016-06.io.a:b\"}",
		 "[{\"namespaces\":[]}]");
}

/* Neither of the two namespaces is taken when one is not free. */
static void expect_refused(const char *why)
{
	json_t *got = t_call("bdev_nvme_attach_controller", ATTACH);
	json_t *error = json_object_get(got, "error");
	const char *text = json_string_value(json_object_get(error, "message"));

	assert_int_equal(json_integer_value(json_object_get(error, "code")),
			 -EBUSY);
	if (!strstr(text, why))
		fail_msg("%s: no '%s'", text, why);
	json_decref(got);
	t_expect("bdev_get_bdevs", NULL, "[]");
}

static void test_used_disks_are_refused(void **state)
{
	static const struct {
		uint32_t off;
		const char *bytes, *why;
	} cases[] = {
		{510, "\x55\xaa", "partition table"},
		{512, "EFI PART", "partition table"},
		{1080, "\x53\xef", "ext file system"},
		{0, "XFSB", "XFS"},
		{65600, "_BHRfS_M", "Btrfs"},
		{0, "LUKS\xba\xbe", "LUKS"},
		{512, "LABELONE", "LVM"},
		{4096, "\xfc\x4e\x2b\xa9", "RAID"},
		{4086, "SWAPSPACE2", "swap"},
		{0, "bluestore block device", "Ceph"},
		{16408, "version", "ZFS"},
	};
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		write_at("nvme0n2", cases[i].off, cases[i].bytes);
		expect_refused(cases[i].why);
	}
	write_at("nvme0n2", 0, "");
	make_dirs("/class/block/nvme0n2/nvme0n2p1");
	expect_refused("has partitions");
	snprintf(path, sizeof(path), "%s/class/block/nvme0n2/nvme0n2p1", root);
	assert_int_equal(rmdir(path), 0);
	make_dirs("/class/block/nvme0n2/holders/dm-0");
	expect_refused("part of a volume");
	snprintf(path, sizeof(path), "%s/class/block/nvme0n2/holders/dm-0",
		 root);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(test_attach),
		ROW(test_detach_takes_namespaces_out),
		ROW(test_used_disks_are_refused),
	};
	char remove[128];
	int ret;

	if (!mkdtemp(root))
		return 77;
	snprintf(dev, sizeof(dev), "%s/dev", root);
	make_dirs("/dev");
	make_dirs("/bus/pci/devices/" BDF "/nvme/nvme0/nvme0n1");
	/* as the kernel's multipath names it */
	make_dirs("/bus/pci/devices/" BDF "/nvme/nvme0/nvme0c0n2");
	make_dirs("/bus/pci/devices/" BDF "/nvme/nvme0/hwmon1");
	make_dirs("/class/block/nvme0n1/holders");
	make_dirs("/class/block/nvme0n2/holders");
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(remove, sizeof(remove), "rm -r %s", root);
	return system(remove) ? 1 : ret;
}
