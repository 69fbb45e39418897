"""Imports a file of vCards with the library that linphonec is made of, as the
Linphone apps do, and prints name and address of each contact.

Usage: import.py CONFIG FILE
"""
import ctypes
import ctypes.util
import sys

lib = ctypes.CDLL(ctypes.util.find_library("linphone"))
ref, text = ctypes.c_void_p, ctypes.c_char_p


def call(name, result, *args):
    function = getattr(lib, name)
    function.restype = result
    function.argtypes = [text if isinstance(a, bytes) else ref for a in args]
    return function(*args)


class Item(ctypes.Structure):  # bctbx_list_t
    pass


Item._fields_ = [("next", ctypes.POINTER(Item)), ("prev", ctypes.POINTER(Item)), ("data", ref)]

factory = call("linphone_factory_get", ref)
core = call("linphone_factory_create_core_3", ref, factory, sys.argv[1].encode(), None, None)
book = call("linphone_core_get_default_friend_list", ref, core)
count = call("linphone_friend_list_import_friends_from_vcard4_file", ctypes.c_int, book, sys.argv[2].encode())
print("imported", count)
item = call("linphone_friend_list_get_friends", ctypes.POINTER(Item), book)
while item:
    friend = item.contents.data
    address = call("linphone_friend_get_address", ref, friend)
    uri = call("linphone_address_as_string_uri_only", text, address)
    print("contact", call("linphone_friend_get_name", text, friend).decode(), uri.decode())
    item = item.contents.next
