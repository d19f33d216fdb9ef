/* SPDX-License-Identifier: Apache-2.0 */
/* spdk_tgt_create: makes NVMe-oF targets on SSD nodes. */
#include "deploy/create.h"

int main(int argc, char **argv)
{
	return create_main(argc, argv);
}
