"""targets.py VMS PREFIX: paths for get.lua. PREFIX-get: single VMs by id; PREFIX-list: pages of 100 that begin anywhere."""
import base64
import random
import sys

vms, prefix = int(sys.argv[1]), sys.argv[2]
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
random.seed(1)


def vm(index):
    return int(f"01900000000370008000{index:012x}", 16)


def type_id(number):
    text = ""
    for _ in range(26):
        text = ALPHABET[number & 31] + text
        number >>= 5
    return "vm_" + text


def cursor(number):
    return base64.urlsafe_b64encode(number.to_bytes(16, "big")).decode().rstrip("=")


with open(prefix + "-get", "w") as file:
    for _ in range(10000):
        file.write(f"/v1/vms/{type_id(vm(random.randint(1, vms)))}\n")
with open(prefix + "-list", "w") as file:
    for _ in range(1000):
        file.write(f"/v1/vms?limit=100&cursor={cursor(vm(random.randint(1, vms - 101)))}\n")
