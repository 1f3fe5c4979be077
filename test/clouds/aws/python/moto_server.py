"""moto's server on 127.0.0.1, until standard input ends: prints its port, then each call as `SERVICE ACTION`."""

import logging
import sys

from moto.core.responses import BaseResponse
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
call_action = BaseResponse.call_action


def told(self):
    print(f"{self.service_name} {self._get_action()}", flush=True)
    return call_action(self)


BaseResponse.call_action = told
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
