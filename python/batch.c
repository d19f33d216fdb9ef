/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python sequences into the arrays of the C API.  Runs with the GIL held; what
 * it leaves in struct batch may be used without it until batch_fini().
 */
#include "native.h"

#include <stdlib.h>
#include <string.h>

/* PyMem_Calloc is not in the limited API with overflow checks of ours. */
static void *array_new(Py_ssize_t n, size_t size)
{
	void *p = calloc(n > 0 ? (size_t)n : 1, size);

	if (!p)
		PyErr_NoMemory();
	return p;
}

const char *text_of(PyObject *obj)
{
	Py_ssize_t len;
	const char *p = PyUnicode_AsUTF8AndSize(obj, &len);

	if (p && strlen(p) != (size_t)len)
		return "";
	return p;
}

int batch_set_keys(struct batch *b, PyObject *keys)
{
	Py_ssize_t i;

	b->keys_ref = PySequence_Tuple(keys);
	if (!b->keys_ref)
		return -1;
	b->count = PyTuple_Size(b->keys_ref);
	b->keys = array_new(b->count, sizeof(*b->keys));
	if (!b->keys)
		return -1;
	for (i = 0; i < b->count; i++) {
		b->keys[i] = text_of(PyTuple_GetItem(b->keys_ref, i));
		if (!b->keys[i])
			return -1;
	}
	return 0;
}

/* A tuple of tuples, so that nobody can change it under us. */
static PyObject *freeze(PyObject *seq, Py_ssize_t *pieces)
{
	PyObject *outer = PySequence_Tuple(seq);
	PyObject *result, *inner;
	Py_ssize_t i, n;

	if (!outer)
		return NULL;
	n = PyTuple_Size(outer);
	result = PyTuple_New(n);
	*pieces = 0;
	for (i = 0; result && i < n; i++) {
		inner = PySequence_Tuple(PyTuple_GetItem(outer, i));
		if (!inner) {
			Py_DECREF(result);
			result = NULL;
			break;
		}
		*pieces += PyTuple_Size(inner);
		PyTuple_SetItem(result, i, inner);
	}
	Py_DECREF(outer);
	return result;
}

static int alloc_pieces(struct batch *b)
{
	if (PyTuple_Size(b->values_ref) != b->count) {
		PyErr_SetString(PyExc_ValueError,
				"keys and values differ in length");
		return -1;
	}
	b->values = array_new(b->count, sizeof(*b->values));
	b->ptrs = array_new(b->piece_count, sizeof(*b->ptrs));
	b->sizes = array_new(b->piece_count, sizeof(*b->sizes));
	return b->values && b->ptrs && b->sizes ? 0 : -1;
}

static void set_value(struct batch *b, Py_ssize_t i, Py_ssize_t first,
		      Py_ssize_t n)
{
	b->values[i] = (mooncake_pieces_t){
		.ptrs = b->ptrs + first,
		.sizes = b->sizes + first,
		.count = (size_t)n,
	};
}

static int add_view(struct batch *b, PyObject *obj)
{
	Py_buffer *view = &b->views[b->view_count];

	if (PyObject_GetBuffer(obj, view, PyBUF_SIMPLE) < 0)
		return -1;
	b->ptrs[b->view_count] = view->buf;
	b->sizes[b->view_count] = (size_t)view->len;
	b->view_count++;
	return 0;
}

int batch_set_buffers(struct batch *b, PyObject *values)
{
	PyObject *inner;
	Py_ssize_t i, j, n, first;

	b->values_ref = freeze(values, &b->piece_count);
	if (!b->values_ref || alloc_pieces(b) < 0)
		return -1;
	b->views = array_new(b->piece_count, sizeof(*b->views));
	if (!b->views)
		return -1;
	for (i = 0; i < b->count; i++) {
		inner = PyTuple_GetItem(b->values_ref, i);
		n = PyTuple_Size(inner);
		first = b->view_count;
		for (j = 0; j < n; j++)
			if (add_view(b, PyTuple_GetItem(inner, j)) < 0)
				return -1;
		set_value(b, i, first, n);
	}
	return 0;
}

static int set_pointer(struct batch *b, Py_ssize_t at, PyObject *ptr,
		       PyObject *size)
{
	b->ptrs[at] = PyLong_AsVoidPtr(ptr);
	if (PyErr_Occurred())
		return -1;
	b->sizes[at] = PyLong_AsSize_t(size);
	return PyErr_Occurred() ? -1 : 0;
}

int batch_set_pointers(struct batch *b, PyObject *ptrs, PyObject *sizes)
{
	PyObject *sizes_ref, *pi, *si;
	Py_ssize_t i, j, n, at = 0, size_count;
	int ret = -1;

	b->values_ref = freeze(ptrs, &b->piece_count);
	sizes_ref = freeze(sizes, &size_count);
	if (!b->values_ref || !sizes_ref || alloc_pieces(b) < 0)
		goto out;
	if (PyTuple_Size(sizes_ref) != b->count) {
		PyErr_SetString(PyExc_ValueError,
				"keys and sizes differ in length");
		goto out;
	}
	for (i = 0; i < b->count; i++) {
		pi = PyTuple_GetItem(b->values_ref, i);
		si = PyTuple_GetItem(sizes_ref, i);
		n = PyTuple_Size(pi);
		if (PyTuple_Size(si) != n) {
			PyErr_SetString(PyExc_ValueError,
					"pointers and sizes differ in length");
			goto out;
		}
		set_value(b, i, at, n);
		for (j = 0; j < n; j++, at++)
			if (set_pointer(b, at, PyTuple_GetItem(pi, j),
					PyTuple_GetItem(si, j)) < 0)
				goto out;
	}
	ret = 0;
out:
	Py_XDECREF(sizes_ref);
	return ret;
}

/* Texts of list items at[0..]; returns how many, -1 with an exception. */
static Py_ssize_t take_texts(const char **at, PyObject *list)
{
	Py_ssize_t i, n = PyTuple_Size(list);

	for (i = 0; i < n; i++) {
		at[i] = text_of(PyTuple_GetItem(list, i));
		if (!at[i])
			return -1;
	}
	return n;
}

static int set_opts_texts(struct batch *b, PyObject *seg, PyObject *nof,
			  PyObject *groups)
{
	Py_ssize_t n =
		PyTuple_Size(seg) + PyTuple_Size(nof) + PyTuple_Size(groups);
	Py_ssize_t ns, nn, ng;

	b->texts = array_new(n, sizeof(*b->texts));
	if (!b->texts)
		return -1;
	ns = take_texts(b->texts, seg);
	nn = ns < 0 ? -1 : take_texts(b->texts + ns, nof);
	ng = nn < 0 ? -1 : take_texts(b->texts + ns + nn, groups);
	if (ng < 0)
		return -1;
	b->opts.preferred_segments = b->texts;
	b->opts.preferred_segments_count = (size_t)ns;
	b->opts.preferred_nof_segments = b->texts + ns;
	b->opts.preferred_nof_segments_count = (size_t)nn;
	b->opts.group_ids = b->texts + ns + nn;
	b->opts.group_ids_count = (size_t)ng;
	return 0;
}

int batch_set_opts(struct batch *b, PyObject *opts)
{
	PyObject *seg, *nof, *groups;
	long long replica, nof_replica, ttl;

	b->opts = (mooncake_put_opts_t)MOONCAKE_PUT_OPTS_INIT;
	if (opts == Py_None)
		return 0;
	Py_INCREF(opts);
	b->opts_ref = opts;
	if (!PyArg_ParseTuple(opts, "LLiLiiiO!O!O!", &replica, &nof_replica,
			      &b->opts.with_soft_pin, &ttl,
			      &b->opts.with_hard_pin,
			      &b->opts.prefer_alloc_in_same_node,
			      &b->opts.data_type, &PyTuple_Type, &seg,
			      &PyTuple_Type, &nof, &PyTuple_Type, &groups))
		return -1;
	b->opts.replica_num = replica;
	b->opts.nof_replica_num = nof_replica;
	b->opts.soft_pin_ttl_ms = ttl;
	return set_opts_texts(b, seg, nof, groups);
}

void batch_fini(struct batch *b)
{
	while (b->view_count > 0)
		PyBuffer_Release(&b->views[--b->view_count]);
	free(b->views);
	free(b->values);
	free(b->ptrs);
	free(b->sizes);
	free(b->keys);
	free(b->texts);
	Py_XDECREF(b->values_ref);
	Py_XDECREF(b->keys_ref);
	Py_XDECREF(b->opts_ref);
}

PyObject *list_of_ints(const int *v, Py_ssize_t n)
{
	PyObject *list = PyList_New(n);
	Py_ssize_t i;

	for (i = 0; list && i < n; i++)
		PyList_SetItem(list, i, PyLong_FromLong(v[i]));
	return list;
}

PyObject *list_of_int64s(const int64_t *v, Py_ssize_t n)
{
	PyObject *list = PyList_New(n);
	Py_ssize_t i;

	for (i = 0; list && i < n; i++)
		PyList_SetItem(list, i, PyLong_FromLongLong(v[i]));
	return list;
}
