/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVM commands: what several of them need.  Shard's thread.  Statuses are 0
 * (go on) or what to complete the command with.
 */
#ifndef TARGET_NVM_H
#define TARGET_NVM_H

#include "target/conn.h"

#define NVM_DSM_RANGES 256
#define NVM_DSM_RANGE  16 /* bytes of one range on the wire */

/* Finds and holds the namespace of the command, until its data are freed: sets
 * req->ns.  0, Invalid Namespace, or what the ANA state on this path says. */
uint16_t nvm_ns(struct tgt_req *req);
/* A range of req->ns; sets req->off and req->span. */
uint16_t nvm_range(struct tgt_req *req, uint64_t slba, uint64_t nlb);
/* SLBA and NLB where Read, Write, Compare, Write Zeroes and Verify have them,
 * at most so many bytes. */
uint16_t nvm_rw_range(struct tgt_req *req, uint64_t most);
/* May this host do it now?  Asked at the start, and again after a wait: a
 * reservation may have been taken meanwhile. */
uint16_t nvm_may(const struct tgt_req *req, bool is_write);

/* Gives [req->off, req->off + req->span) to the back end, with data for a read
 * or write.  done begins with nvm_io_end(). */
void nvm_io(struct tgt_req *req, enum bdev_op op, void *data,
	    void (*done)(struct bdev_io *io));
/* The status of the I/O; the command is the shard's again. */
uint16_t nvm_io_end(struct tgt_req *req);
/* Must the end of this write wait for the medium: FUA (the command's bit in
 * CDW12), or the write cache is off? */
bool nvm_is_fua(const struct tgt_req *req, uint32_t fua_bit);
/* done of what changes the medium: flushes where req->is_fua, then answers. */
void nvm_written(struct bdev_io *io);

/* Fetches req->len bytes from the host, into req->data where that is set and
 * else into a buffer of room bytes (len, or twice that); nvm_data_ready()
 * follows. */
void nvm_data_out(struct tgt_req *req, uint32_t icd_len, uint32_t room);
/* A buffer for req->len bytes; ready runs at once or later, or the command is
 * answered. */
void nvm_buffer(struct tgt_req *req, void (*ready)(struct buf_wait *wait));

/* nvm_compare.c */
void compare_start(struct tgt_req *req, uint32_t icd_len);
void compare_data_ready(struct tgt_req *req);
void verify_start(struct tgt_req *req, uint32_t icd_len);
/* nvm_range.c */
void write_zeroes_start(struct tgt_req *req, uint32_t icd_len);
void dsm_start(struct tgt_req *req, uint32_t icd_len);
void dsm_data_ready(struct tgt_req *req);
/* resv_cmd.c */
void resv_start(struct tgt_req *req, uint32_t icd_len);
void resv_data_ready(struct tgt_req *req);
void resv_report_start(struct tgt_req *req, uint32_t icd_len);

#endif
