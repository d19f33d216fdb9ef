/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local NVMe drives by their PCI address, through the kernel's driver.  SPDK
 * takes the drive away from the kernel; here its block device is opened, and
 * only when nobody else has a use for it.
 */
#ifndef CONTROL_PCI_H
#define CONTROL_PCI_H

#include "base/err.h"

#define PCI_NS_MAX 64

struct pci_ns {
	char dev[32]; /* "nvme0n1" */
	uint32_t nsid;
};

/* sysfs: "/sys".  The namespaces of the drive at bdf (0000:5e:00.0); how many,
 * or -ENODEV with a sentence: no such drive, or not the kernel's. */
int pci_namespaces(const char *sysfs, const char *bdf,
		   struct pci_ns out[PCI_NS_MAX], struct err *err);
/*
 * -EBUSY with a sentence when the disk has partitions, is part of a volume, or
 * begins with what another program left there.  That nobody has it mounted is
 * seen when it is opened.  path: its device file.
 */
int pci_ns_check_unused(const char *sysfs, const struct pci_ns *ns,
			const char *path, struct err *err);

#endif
