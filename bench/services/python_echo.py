# SPDX-License-Identifier: MIT
"""The same in Python: ZeroMQ (DEALER and ROUTER over ipc), multiprocessing's managers, and the client of
examples/service_client.py. See bench/services.lua.

usage: python_echo.py zmq|manager|client serve|WORKLOAD PATH ITEMS"""
import sys
import time

kind, what, path = sys.argv[1:4]
n = int(sys.argv[4]) if len(sys.argv) > 4 else 0


class Zmq:
    def __init__(self):
        import zmq
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.connect("ipc://" + path)

    def ask(self, value):
        self.socket.send_multipart([b"a", value])
        return self.socket.recv()

    def send(self, value):
        self.socket.send_multipart([b"s", value])

    def close(self):
        self.socket.close()

    @staticmethod
    def serve():
        import zmq
        socket = zmq.Context.instance().socket(zmq.ROUTER)
        socket.bind("ipc://" + path)
        while True:
            who, kind_, value = socket.recv_multipart()
            if kind_ == b"a":
                socket.send_multipart([who, value])


class Manager:
    def __init__(self):
        from multiprocessing.managers import BaseManager

        class Echo(BaseManager):
            pass
        Echo.register("echo")
        self.manager = Echo(address=path, authkey=b"bench")
        self.manager.connect()
        self.proxy = self.manager.echo()

    def ask(self, value):
        return self.proxy.ask(value)

    send = ask

    def close(self):
        pass

    @staticmethod
    def serve():
        from multiprocessing.managers import BaseManager

        class Service:
            def ask(self, value):
                return value

        class Echo(BaseManager):
            pass
        Echo.register("echo", callable=Service)
        Echo(address=path, authkey=b"bench").get_server().serve_forever()


class Client:
    def __init__(self):
        sys.path.insert(0, "examples")
        import service_client
        self.client = service_client.Client(path)
        self.ask, self.send = self.client.call, self.client.send

    def close(self):
        self.client.socket.close()


made = {"zmq": Zmq, "manager": Manager, "client": Client}[kind]
if what == "serve":
    made.serve()
now, times = time.perf_counter, []


def percentiles():
    times.sort()
    print(f"items={n} p50_us={times[n // 2] * 1e6:.3f} p99_us={times[n * 99 // 100] * 1e6:.3f} ok=1")


small = b"12345678"
if what == "attach":
    for _ in range(n):
        t = now()
        client = made()
        client.ask(small)
        times.append(now() - t)
        client.close()
    percentiles()
elif what in ("hot", "cold"):
    client = made()
    for _ in range(n):
        if what == "cold":
            time.sleep(0.001)
        t = now()
        client.ask(small)
        times.append(now() - t)
    percentiles()
else:
    client = made()
    value = b"x" * (1 << 20) if what == "large" else small
    client.ask(small)
    t = now()
    for _ in range(n):
        client.send(value)
    client.ask(small)
    rate = n / (now() - t)
    print(f"items={n} rate={rate * (len(value) / 1e6 if what == 'large' else 1):.0f} ok=1")
