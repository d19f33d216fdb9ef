/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BufferHandle: the bytes of one object in memory of the library.  Owner: the
 * Python object; the memory lives as long as it or any view of it.
 */
#include "native.h"

#include <string.h>

struct handle {
	PyObject_HEAD mooncake_buffer_t buf;
};

static PyTypeObject *handle_type;

static PyObject *handle_ptr(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyLong_FromVoidPtr(((struct handle *)self)->buf.ptr);
}

static PyObject *handle_size(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyLong_FromSize_t(((struct handle *)self)->buf.size);
}

static Py_ssize_t handle_len(PyObject *self)
{
	return (Py_ssize_t)((struct handle *)self)->buf.size;
}

static int handle_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	struct handle *h = (struct handle *)self;

	return PyBuffer_FillInfo(view, self, h->buf.ptr,
				 (Py_ssize_t)h->buf.size, 0, flags);
}

static PyObject *handle_repr(PyObject *self)
{
	struct handle *h = (struct handle *)self;

	return PyUnicode_FromFormat("<BufferHandle %zu bytes at %p>",
				    h->buf.size, h->buf.ptr);
}

static void handle_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	mooncake_buffer_free(&((struct handle *)self)->buf);
	PyObject_Free(self);
	Py_DECREF(type);
}

PyObject *handle_new(mooncake_buffer_t *buf)
{
	struct handle *h = PyObject_New(struct handle, handle_type);

	if (!h)
		return NULL;
	h->buf = *buf;
	memset(buf, 0, sizeof(*buf));
	return (PyObject *)h;
}

static PyMethodDef handle_methods[] = {
	{"ptr", handle_ptr, METH_NOARGS, "Address of the first byte."},
	{"size", handle_size, METH_NOARGS, "Bytes."},
	{"len", handle_size, METH_NOARGS, "Bytes."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot handle_slots[] = {
	{Py_tp_doc, "Bytes of one object; memoryview(handle) is no copy."},
	{Py_tp_dealloc, handle_dealloc},
	{Py_tp_repr, handle_repr},
	{Py_tp_methods, handle_methods},
	{Py_sq_length, handle_len},
	{Py_bf_getbuffer, handle_getbuffer},
	{0, NULL},
};

static PyType_Spec handle_spec = {
	.name = "mooncake.store.BufferHandle",
	.basicsize = sizeof(struct handle),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = handle_slots,
};

int handle_type_init(PyObject *module)
{
	handle_type = (PyTypeObject *)PyType_FromSpec(&handle_spec);
	if (!handle_type)
		return -1;
	return PyModule_AddObjectRef(module, "BufferHandle",
				     (PyObject *)handle_type);
}
