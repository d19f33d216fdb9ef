/* SPDX-License-Identifier: Apache-2.0 */
/*
 * _native.Store: one mooncake_store_t.  Every call that may wait gives the
 * GIL away; arguments are validated before and owned by a struct batch.
 */
#include "native.h"

#include <stdlib.h>

struct store {
	PyObject_HEAD mooncake_store_t h;
};

static mooncake_store_t handle_of(PyObject *self)
{
	return ((struct store *)self)->h;
}

static PyObject *store_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	struct store *s = (struct store *)alloc(type, 0);

	(void)args;
	(void)kw;
	if (!s)
		return NULL;
	s->h = mooncake_store_create();
	if (!s->h) {
		Py_DECREF(s);
		return PyErr_NoMemory();
	}
	return (PyObject *)s;
}

static void store_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	freefunc del = (freefunc)PyType_GetSlot(type, Py_tp_free);
	mooncake_store_t h = handle_of(self);

	if (h) {
		Py_BEGIN_ALLOW_THREADS mooncake_store_destroy(h);
		Py_END_ALLOW_THREADS
	}
	del(self);
	Py_DECREF(type);
}

/* setup(names, values) -> int */
static PyObject *store_setup(PyObject *self, PyObject *args)
{
	struct batch names = {0}, values = {0};
	PyObject *n, *v, *result = NULL;
	int ret;

	if (!PyArg_ParseTuple(args, "OO", &n, &v) ||
	    batch_set_keys(&names, n) < 0 || batch_set_keys(&values, v) < 0)
		goto out;
	if (names.count != values.count) {
		PyErr_SetString(PyExc_ValueError, "names and values differ");
		goto out;
	}
	Py_BEGIN_ALLOW_THREADS ret = mooncake_store_setup_config(
		handle_of(self), names.keys, values.keys, (size_t)names.count);
	Py_END_ALLOW_THREADS result = PyLong_FromLong(ret);
out:
	batch_fini(&names);
	batch_fini(&values);
	return result;
}

/* Result array of a batch, or NULL with MemoryError. */
static void *results_new(const struct batch *b, size_t size)
{
	void *p = calloc(b->count ? (size_t)b->count : 1, size);

	if (!p)
		PyErr_NoMemory();
	return p;
}

static PyObject *put_batch(PyObject *self, struct batch *b)
{
	int *results = results_new(b, sizeof(*results));
	PyObject *list;

	if (!results)
		return NULL;
	Py_BEGIN_ALLOW_THREADS mooncake_store_batch_put_pieces(
		handle_of(self), b->keys, b->values, (size_t)b->count, &b->opts,
		results);
	Py_END_ALLOW_THREADS list = list_of_ints(results, b->count);
	free(results);
	return list;
}

/* put_buffers(keys, values, opts) -> [int] */
static PyObject *store_put_buffers(PyObject *self, PyObject *args)
{
	struct batch b = {0};
	PyObject *keys, *values, *opts, *result = NULL;

	if (PyArg_ParseTuple(args, "OOO", &keys, &values, &opts) &&
	    batch_set_keys(&b, keys) == 0 &&
	    batch_set_buffers(&b, values) == 0 && batch_set_opts(&b, opts) == 0)
		result = put_batch(self, &b);
	batch_fini(&b);
	return result;
}

/* put_pointers(keys, ptrs, sizes, opts) -> [int] */
static PyObject *store_put_pointers(PyObject *self, PyObject *args)
{
	struct batch b = {0};
	PyObject *keys, *ptrs, *sizes, *opts, *result = NULL;

	if (PyArg_ParseTuple(args, "OOOO", &keys, &ptrs, &sizes, &opts) &&
	    batch_set_keys(&b, keys) == 0 &&
	    batch_set_pointers(&b, ptrs, sizes) == 0 &&
	    batch_set_opts(&b, opts) == 0)
		result = put_batch(self, &b);
	batch_fini(&b);
	return result;
}

/* get_pointers(keys, ptrs, sizes) -> [int] */
static PyObject *store_get_pointers(PyObject *self, PyObject *args)
{
	struct batch b = {0};
	PyObject *keys, *ptrs, *sizes, *result = NULL;
	int64_t *results = NULL;

	if (!PyArg_ParseTuple(args, "OOO", &keys, &ptrs, &sizes) ||
	    batch_set_keys(&b, keys) < 0 ||
	    batch_set_pointers(&b, ptrs, sizes) < 0)
		goto out;
	results = results_new(&b, sizeof(*results));
	if (!results)
		goto out;
	Py_BEGIN_ALLOW_THREADS mooncake_store_batch_get_pieces(
		handle_of(self), b.keys, b.values, (size_t)b.count, results);
	Py_END_ALLOW_THREADS result = list_of_int64s(results, b.count);
out:
	free(results);
	batch_fini(&b);
	return result;
}

/* A handle or bytes per key, None where there is nothing. */
static PyObject *item_of(mooncake_buffer_t *buf, int as_bytes)
{
	PyObject *obj;

	if (!buf->ptr)
		Py_RETURN_NONE;
	if (!as_bytes)
		return handle_new(buf);
	obj = PyBytes_FromStringAndSize(buf->ptr, (Py_ssize_t)buf->size);
	mooncake_buffer_free(buf);
	return obj;
}

/* get_buffers(keys, as_bytes) -> [BufferHandle | bytes | None] */
static PyObject *store_get_buffers(PyObject *self, PyObject *args)
{
	struct batch b = {0};
	PyObject *keys, *item, *result = NULL;
	mooncake_buffer_t *bufs = NULL;
	Py_ssize_t i;
	int as_bytes;

	if (!PyArg_ParseTuple(args, "Op", &keys, &as_bytes) ||
	    batch_set_keys(&b, keys) < 0)
		goto out;
	bufs = results_new(&b, sizeof(*bufs));
	if (!bufs)
		goto out;
	Py_BEGIN_ALLOW_THREADS mooncake_store_batch_get_buffer(
		handle_of(self), b.keys, (size_t)b.count, bufs);
	Py_END_ALLOW_THREADS result = PyList_New(b.count);
	for (i = 0; result && i < b.count; i++) {
		item = item_of(&bufs[i], as_bytes);
		if (!item)
			Py_CLEAR(result);
		else
			PyList_SetItem(result, i, item);
	}
out:
	for (i = 0; bufs && i < b.count; i++)
		mooncake_buffer_free(&bufs[i]);
	free(bufs);
	batch_fini(&b);
	return result;
}

/* exist(keys) -> [int] */
static PyObject *store_exist(PyObject *self, PyObject *keys)
{
	struct batch b = {0};
	PyObject *result = NULL;
	int *results = NULL;

	if (batch_set_keys(&b, keys) < 0)
		goto out;
	results = results_new(&b, sizeof(*results));
	if (!results)
		goto out;
	Py_BEGIN_ALLOW_THREADS mooncake_store_batch_is_exist(
		handle_of(self), b.keys, (size_t)b.count, results);
	Py_END_ALLOW_THREADS result = list_of_ints(results, b.count);
out:
	free(results);
	batch_fini(&b);
	return result;
}

/* is_exist(key) -> int: transport errors read as "not there" (store.h). */
static PyObject *store_is_exist(PyObject *self, PyObject *key)
{
	const char *k = text_of(key);
	int ret;

	if (!k)
		return NULL;
	Py_INCREF(key);
	Py_BEGIN_ALLOW_THREADS ret =
		mooncake_store_is_exist(handle_of(self), k);
	Py_END_ALLOW_THREADS Py_DECREF(key);
	return PyLong_FromLong(ret);
}

/* remove(keys, force) -> [int] */
static PyObject *store_remove(PyObject *self, PyObject *args)
{
	struct batch b = {0};
	PyObject *keys, *result = NULL;
	int force, *results = NULL;

	if (!PyArg_ParseTuple(args, "Op", &keys, &force) ||
	    batch_set_keys(&b, keys) < 0)
		goto out;
	results = results_new(&b, sizeof(*results));
	if (!results)
		goto out;
	Py_BEGIN_ALLOW_THREADS mooncake_store_batch_remove(
		handle_of(self), b.keys, (size_t)b.count, force, results);
	Py_END_ALLOW_THREADS result = list_of_ints(results, b.count);
out:
	free(results);
	batch_fini(&b);
	return result;
}

/* remove_by_regex(pattern, force) -> int */
static PyObject *store_remove_by_regex(PyObject *self, PyObject *args)
{
	const char *pattern;
	int64_t n;
	int force;

	if (!PyArg_ParseTuple(args, "sp", &pattern, &force))
		return NULL;
	Py_BEGIN_ALLOW_THREADS n =
		mooncake_store_remove_by_regex(handle_of(self), pattern, force);
	Py_END_ALLOW_THREADS return PyLong_FromLongLong(n);
}

/* remove_all(force) -> int */
static PyObject *store_remove_all(PyObject *self, PyObject *args)
{
	int64_t n;
	int force;

	if (!PyArg_ParseTuple(args, "p", &force))
		return NULL;
	Py_BEGIN_ALLOW_THREADS n =
		mooncake_store_remove_all(handle_of(self), force);
	Py_END_ALLOW_THREADS return PyLong_FromLongLong(n);
}

/* size(key) -> int */
static PyObject *store_size(PyObject *self, PyObject *args)
{
	const char *key;
	int64_t n;

	if (!PyArg_ParseTuple(args, "s", &key))
		return NULL;
	Py_BEGIN_ALLOW_THREADS n =
		mooncake_store_get_size(handle_of(self), key);
	Py_END_ALLOW_THREADS return PyLong_FromLongLong(n);
}

/* register(ptr, size) -> int; size < 0 unregisters */
static PyObject *store_register(PyObject *self, PyObject *args)
{
	PyObject *obj;
	long long size;
	void *ptr;
	int ret;

	if (!PyArg_ParseTuple(args, "OL", &obj, &size))
		return NULL;
	ptr = PyLong_AsVoidPtr(obj);
	if (PyErr_Occurred())
		return NULL;
	Py_BEGIN_ALLOW_THREADS if (size < 0) ret =
		mooncake_store_unregister_buffer(handle_of(self), ptr);
	else ret = mooncake_store_register_buffer(handle_of(self), ptr,
						  (size_t)size);
	Py_END_ALLOW_THREADS return PyLong_FromLong(ret);
}

#define REPLICAS_MAX 16

/* replicas(key) -> [(kind, status, size, offset, endpoint)] or int */
static PyObject *store_replicas(PyObject *self, PyObject *args)
{
	mooncake_replica_t rep[REPLICAS_MAX];
	const char *key;
	PyObject *list;
	int64_t n, i;

	if (!PyArg_ParseTuple(args, "s", &key))
		return NULL;
	Py_BEGIN_ALLOW_THREADS n = mooncake_store_get_replicas(
		handle_of(self), key, rep, REPLICAS_MAX);
	Py_END_ALLOW_THREADS if (n < 0) return PyLong_FromLongLong(n);
	if (n > REPLICAS_MAX)
		n = REPLICAS_MAX;
	list = PyList_New((Py_ssize_t)n);
	for (i = 0; list && i < n; i++)
		PyList_SetItem(list, (Py_ssize_t)i,
			       Py_BuildValue("iiKKs", rep[i].kind,
					     rep[i].status,
					     (unsigned long long)rep[i].size,
					     (unsigned long long)rep[i].offset,
					     rep[i].endpoint));
	return list;
}

static PyObject *store_close(PyObject *self, PyObject *unused)
{
	int ret;

	(void)unused;
	Py_BEGIN_ALLOW_THREADS ret = mooncake_store_close(handle_of(self));
	Py_END_ALLOW_THREADS return PyLong_FromLong(ret);
}

static PyObject *store_health(PyObject *self, PyObject *unused)
{
	int ret;

	(void)unused;
	Py_BEGIN_ALLOW_THREADS ret =
		mooncake_store_health_check(handle_of(self));
	Py_END_ALLOW_THREADS return PyLong_FromLong(ret);
}

static PyObject *store_setup_error(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyUnicode_FromString(
		mooncake_store_setup_error(handle_of(self)));
}

static PyObject *store_hostname(PyObject *self, PyObject *unused)
{
	char buf[512] = "";

	(void)unused;
	mooncake_store_get_hostname(handle_of(self), buf, sizeof(buf));
	return PyUnicode_FromString(buf);
}

static PyObject *store_metrics(PyObject *self, PyObject *unused)
{
	/* Room for counters that appear between the two calls. */
	size_t len = mooncake_store_metrics(handle_of(self), NULL, 0) + 4096;
	char *buf = calloc(1, len);
	PyObject *text;

	(void)unused;
	if (!buf)
		return PyErr_NoMemory();
	mooncake_store_metrics(handle_of(self), buf, len);
	text = PyUnicode_FromString(buf);
	free(buf);
	return text;
}

static PyMethodDef store_methods[] = {
	{"setup", store_setup, METH_VARARGS, NULL},
	{"setup_error", store_setup_error, METH_NOARGS, NULL},
	{"close", store_close, METH_NOARGS, NULL},
	{"health_check", store_health, METH_NOARGS, NULL},
	{"hostname", store_hostname, METH_NOARGS, NULL},
	{"put_buffers", store_put_buffers, METH_VARARGS, NULL},
	{"put_pointers", store_put_pointers, METH_VARARGS, NULL},
	{"get_pointers", store_get_pointers, METH_VARARGS, NULL},
	{"get_buffers", store_get_buffers, METH_VARARGS, NULL},
	{"exist", store_exist, METH_O, NULL},
	{"is_exist", store_is_exist, METH_O, NULL},
	{"remove", store_remove, METH_VARARGS, NULL},
	{"remove_by_regex", store_remove_by_regex, METH_VARARGS, NULL},
	{"remove_all", store_remove_all, METH_VARARGS, NULL},
	{"size", store_size, METH_VARARGS, NULL},
	{"register", store_register, METH_VARARGS, NULL},
	{"replicas", store_replicas, METH_VARARGS, NULL},
	{"metrics", store_metrics, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot store_slots[] = {
	{Py_tp_doc, "One client of the store; see mooncake.store."},
	{Py_tp_new, store_new},
	{Py_tp_dealloc, store_dealloc},
	{Py_tp_methods, store_methods},
	{0, NULL},
};

static PyType_Spec store_spec = {
	.name = "mooncake._native.Store",
	.basicsize = sizeof(struct store),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = store_slots,
};

int store_type_init(PyObject *module)
{
	PyObject *type = PyType_FromSpec(&store_spec);
	int ret;

	if (!type)
		return -1;
	ret = PyModule_AddObjectRef(module, "Store", type);
	Py_DECREF(type);
	return ret;
}
