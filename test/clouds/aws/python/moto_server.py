"""moto's server on 127.0.0.1, until standard input ends: prints its port, then each call as `SERVICE ACTION`.

moto launches MinCount machines. EC2 launches as many of MaxCount as there are, and so does this: all.
"""

import logging
import os
import sys

from moto.core.responses import BaseResponse
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
call_action = BaseResponse.call_action
get_param = BaseResponse._get_param


def told(self):
    # Calls come in threads: print writes a line and its end apart, and others get in between.
    os.write(1, f"{self.service_name} {self._get_action()}\n".encode())
    return call_action(self)


def most(self, name, if_none=None):
    return get_param(self, "MaxCount" if name == "MinCount" else name, if_none)


BaseResponse.call_action = told
BaseResponse._get_param = most
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
