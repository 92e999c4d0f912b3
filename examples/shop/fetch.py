"""Fetches the shop's page through its Service's cluster address: fetch.py "$(pilothouse status -o json)"."""

import json
import sys
import urllib.request

services = json.loads(sys.argv[1])["services"]
address = next(s["address"] for s in services if (s["namespace"], s["name"]) == ("shop", "front"))
if ":" in address:
    address = f"[{address}]"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(f"http://{address}/", timeout=10) as answer:
    print("\n".join("  " + line for line in answer.read().decode().splitlines()))
print(f"\n(http://{address}/ on this machine; http://NODE-ADDRESS:30080/ from others)")
