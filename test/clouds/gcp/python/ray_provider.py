"""Ray's own provider for Google Cloud, as autoscaler v2 calls it, with the config that a head starts from.

The API is a fake of Compute Engine's that takes inserts, lists by labels and deletes at once. It does not prove what Google
answers, nor that an account may ask.

Arguments: the config, and a folder with google-api-python-client. Prints JSON.
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

config_file, client = sys.argv[1:]
# Behind what Ray brings itself.
sys.path.append(client)

import google  # noqa: E402

google.__path__.append(f"{client}/google")

import google.auth  # noqa: E402
import google.auth.credentials  # noqa: E402
import googleapiclient.discovery_cache as discovery  # noqa: E402

machines = {}
inserted = []
deleted = []


class Compute(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, body, status=200):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        url = urlparse(self.path)
        name = url.path.split("/")[-1]
        if "/operations/" in url.path:
            return self.reply({"name": name, "status": "DONE"})
        if name in machines:
            return self.reply(machines[name])
        wanted = re.findall(r"labels\.([\w-]+) = ([\w-]+)", parse_qs(url.query)["filter"][0])
        items = [each for each in machines.values() if all(each["labels"].get(key) == value for key, value in wanted)]
        return self.reply({"items": items} if items else {})

    def do_POST(self):
        url = urlparse(self.path)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        inserted.append({"path": url.path, "query": parse_qs(url.query), "body": body})
        machines[body["name"]] = {**body, "status": "RUNNING", "networkInterfaces": [{"networkIP": "10.0.0.9"}]}
        self.reply({"name": "insert", "status": "DONE"})

    def do_DELETE(self):
        name = urlparse(self.path).path.split("/")[-1]
        deleted.append(name)
        machines.pop(name, None)
        self.reply({"name": "delete", "status": "DONE"})


server = ThreadingHTTPServer(("127.0.0.1", 0), Compute)
threading.Thread(target=server.serve_forever, daemon=True).start()
own = discovery.get_static_doc


def here(*arguments, **options):
    document = json.loads(own(*arguments, **options))
    document.update(rootUrl=f"http://127.0.0.1:{server.server_port}/", baseUrl="", mtlsRootUrl="")
    return json.dumps(document)


discovery.get_static_doc = here
google.auth.default = lambda *_, **__: (google.auth.credentials.AnonymousCredentials(), "project")

from ray.autoscaler._private.providers import _get_node_provider  # noqa: E402
from ray.autoscaler.v2.instance_manager.config import FileConfigReader  # noqa: E402
from ray.autoscaler.v2.instance_manager.node_provider import NodeProviderAdapter  # noqa: E402

reader = FileConfigReader(config_file)
config = reader.get_cached_autoscaling_config()
provider = _get_node_provider(config.get_config("provider"), config.get_config("cluster_name"))
adapter = NodeProviderAdapter(provider, reader)


def until(done):
    end = time.time() + 30
    while not done() and time.time() < end:
        time.sleep(0.1)


adapter.launch({"gpu": 2}, "request")
until(lambda: len(machines) == 2)
found = [each.node_type for each in adapter.get_non_terminated().values()]
adapter.terminate(list(machines), "end")
until(lambda: not machines)
errors = [str(error) for error in adapter.poll_errors()]
print(json.dumps({"inserted": inserted, "found": found, "deleted": deleted, "errors": errors}))
