"""kerberos_client.py URL HOST: a GET as Airflow's own client for Kerberos makes it.

Prints the statuses on the way, what the first answer offered, and the last body.
"""

import json
import sys

import requests
from requests_kerberos import DISABLED, HTTPKerberosAuth

url, host = sys.argv[1:]
# Airflow does not prove itself in turn: its backend drops its own half of the handshake.
ticket = HTTPKerberosAuth(service="airflow", hostname_override=host, mutual_authentication=DISABLED)
answer = requests.get(url, auth=ticket, timeout=30)
way = [*answer.history, answer]
print(json.dumps({
    "statuses": [step.status_code for step in way],
    "offered": way[0].headers.get("WWW-Authenticate"),
    "body": answer.text,
}))
