/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extension module mooncake._native: the C API as few batch calls, without
 * the GIL while they run.  mooncake/store.py makes upstream's surface of it.
 * Limited API of CPython 3.11, so one binary serves every later version.
 */
#ifndef PYTHON_NATIVE_H
#define PYTHON_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "mooncake/store.h"

/*
 * Arguments of one batch call.  Everything that C code points into while the
 * GIL is away is kept alive by the references and buffers held here; other
 * threads may change the lists they came from.
 */
struct batch {
	Py_ssize_t count;
	PyObject *keys_ref; /* tuple */
	const char **keys;
	/* pieces of all values, one after the other */
	PyObject *values_ref;
	mooncake_pieces_t *values;
	void **ptrs;
	size_t *sizes;
	Py_ssize_t piece_count;
	Py_buffer *views; /* for values that are Python buffers */
	Py_ssize_t view_count;
	/* put options */
	PyObject *opts_ref;
	mooncake_put_opts_t opts;
	const char **texts; /* preferred segments, group ids */
};

/* UTF-8 of a str; "" for one with a NUL inside, which no key may have. */
const char *text_of(PyObject *obj);

/* All return 0, or -1 with a Python exception set; batch_fini takes a zeroed
 * or half-filled batch. */
int batch_set_keys(struct batch *b, PyObject *keys);
/* values: a sequence of sequences of buffer objects. */
int batch_set_buffers(struct batch *b, PyObject *values);
/* ptrs, sizes: sequences of sequences of int. */
int batch_set_pointers(struct batch *b, PyObject *ptrs, PyObject *sizes);
/* None, or the tuple that ReplicateConfig._native() makes. */
int batch_set_opts(struct batch *b, PyObject *opts);
void batch_fini(struct batch *b);

/* A list of int. */
PyObject *list_of_ints(const int *v, Py_ssize_t n);
PyObject *list_of_int64s(const int64_t *v, Py_ssize_t n);

/* BufferHandle: owns a mooncake_buffer_t; buf->ptr moves into it. */
int handle_type_init(PyObject *module);
PyObject *handle_new(mooncake_buffer_t *buf);
/* (master, nqn, nsid, traddr, trsvcid, bytes): None, or why not. */
PyObject *mod_nof_register(PyObject *self, PyObject *args);
PyObject *mod_nof_unregister(PyObject *self, PyObject *args);

/* The Store type. */
int store_type_init(PyObject *module);

#endif
