/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that makes targets on SSD nodes: options, all nodes at once, the
 * plan or what became of it.
 */
#ifndef DEPLOY_CREATE_H
#define DEPLOY_CREATE_H

#include "base/flag.h"

/* All of main(); returns the exit status: 0 when every node is as wanted, 1
 * when one is not, 2 for wrong options. */
int create_main(int argc, char **argv);

#endif
