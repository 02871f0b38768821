"""Calls the API for each path on standard input, and prints the status."""
import os
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

API_URL = os.environ["API_URL"]
TOKEN_FILE = os.environ.get("TOKEN_FILE", "/var/run/convercus/token")

def send(path):
    with open(TOKEN_FILE) as file:  # for each request: the file is replaced
        headers = {"Authorization": "Bearer " + file.read()}
    return urlopen(Request(API_URL + path, headers=headers), timeout=30)

def call(path):
    try:
        return send(path)
    except HTTPError as error:
        if error.code != 401: raise
    return send(path)  # once, with the file as it is now

for line in sys.stdin:
    try: print(call(line.strip()).status, flush=True)
    except HTTPError as error: print(error.code, flush=True)
