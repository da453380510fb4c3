import Foundation
import ServiceKit
import Testing

/// What stands between a gateway and an evaluation unit, or OpenBao without TLS, and alters what passes.
final class LyingUnit {
    let port: Int
    private let folder: URL
    private let process = Process()

    /// - Parameter unit: the port of the true one.
    init(before unit: Int) throws {
        port = try Installation.freePort()
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "lies-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let program = folder.appendingPathComponent("relay.py")
        try Data(Self.program.utf8).write(to: program)
        try tell(nil)
        process.arguments = ["python3", program.path, "\(port)", "\(unit)", folder.path]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let ready = folder.appendingPathComponent("ready").path
        for _ in 0..<400 where !FileManager.default.fileExists(atPath: ready) { usleep(25_000) }
        try #require(FileManager.default.fileExists(atPath: ready), "the relay did not start")
    }

    deinit {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(at: folder)
    }

    /// Tells a lie from now on; nil for the truth.
    /// - Parameters:
    ///   - path: a pattern of method and path of the requests that it is told to.
    ///   - other: the port of a unit that is asked instead.
    func tell(
        _ lie: String?, at path: String = "POST /v1/evaluate$", other: Int? = nil,
        output: [UInt8]? = nil
    ) throws {
        try? FileManager.default.removeItem(at: folder.appendingPathComponent("end"))
        if let output { try Data(output).write(to: folder.appendingPathComponent("output")) }
        var told: [String: Any] = ["lie": lie ?? "", "path": path]
        told["port"] = other
        try JSONSerialization.data(withJSONObject: told).write(
            to: folder.appendingPathComponent("lie"), options: .atomic)
    }

    /// Ends every answer that stopped in the middle.
    func end() throws { try Data().write(to: folder.appendingPathComponent("end")) }

    /// Method and path of each request that came, and forgets them.
    func requests() throws -> [String] {
        let file = folder.appendingPathComponent("requests")
        defer { try? FileManager.default.removeItem(at: file) }
        return ((try? String(contentsOf: file, encoding: .utf8)) ?? "").split(separator: "\n").map(
            String.init)
    }

    // Every lie is a function of the true answer's status, fields and body, and of the request's body.
    private static let program = #"""
        import base64, http.client, http.server, json, os, re, socket, struct, sys, threading, time
        port, unit, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
        BUNDLE = {"Content-Type": "application/vnd.hkms.bundle"}
        JSON = {"Content-Type": "application/json"}
        earlier = []

        def parts(body):
            count = struct.unpack_from("<I", body, 12)[0]
            sizes = struct.unpack_from("<%dQ" % count, body, 16)
            start, found = 16 + 8 * count, []
            for size in sizes:
                found.append(body[start:start + size])
                start += size
            return found

        def bundle(strings):
            head = b"HKMSBNDL" + struct.pack("<HHI", 1, 0, len(strings))
            return head + b"".join(struct.pack("<Q", len(s)) for s in strings) + b"".join(strings)

        def flipped(data, index):
            data = bytearray(data)
            data[index] ^= 1
            return bytes(data)

        def outputs(change):
            def lie(status, fields, body, request):
                receipt, *results = parts(body)
                return status, fields, bundle([receipt] + change(results, parts(request)[1:]))
            return lie

        def receipt(change):
            def lie(status, fields, body, request):
                first, *results = parts(body)
                return status, fields, bundle([change(first, parts(request)[0])] + results)
            return lie

        def payload(change):
            def lie(envelope, _):
                parsed = json.loads(envelope)
                body = json.loads(base64.b64decode(parsed["payload"]))
                change(body)
                parsed["payload"] = base64.b64encode(json.dumps(body).encode()).decode()
                return json.dumps(parsed).encode()
            return receipt(lie)

        def body(change):
            return lambda status, fields, body, request: (status, fields, change(body))

        def answer(status, fields, text):
            return lambda *_: (status, fields, text)

        def problem(name, status):
            text = json.dumps({"type": "urn:hkms:problem:" + name, "status": status, "title": "x" * 9999,
                               "detail": "d" * 9999, "fix": "f", "retryAfterSeconds": -1}).encode()
            return answer(status, {"Content-Type": "application/problem+json"}, text)

        def members(change):
            def lie(status, fields, body, request):
                parsed = json.loads(body)
                change(parsed)
                return status, fields, json.dumps(parsed).encode()
            return lie

        def twice(key):
            def change(parsed):
                parsed[key] = parsed[key] * 50
            return change

        def timing(value):
            def lie(status, fields, body, request):
                return status, dict(fields, **{"Server-Timing": value}), body
            return lie

        def plan(change):
            def lie(status, fields, body, request):
                parsed = json.loads(body)
                payload = json.loads(base64.b64decode(parsed["payload"]))
                change(payload)
                parsed["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
                return status, fields, json.dumps(parsed).encode()
            return lie

        def earlier_plan(status, fields, body, request):
            plans.append(body)
            return status, fields, plans[0]

        plans = []
        read_output = lambda: open(folder + "/output", "rb").read()
        altered_envelope = lambda text: text.replace('"payload":"', '"payload":"A', 1)
        lies = {
            "output altered": outputs(lambda out, _: [flipped(out[0], 500)] + out[1:]),
            "outputs swapped": outputs(lambda out, _: out[::-1]),
            "output duplicated": outputs(lambda out, _: [out[0]] * len(out)),
            "output dropped": outputs(lambda out, _: out[:-1]),
            "output added": outputs(lambda out, _: out + out[:1]),
            "no outputs": outputs(lambda out, _: []),
            "inputs as outputs": outputs(lambda out, inputs: inputs),
            "output of another": outputs(lambda out, _: [read_output()] + out[1:]),
            "earlier outputs": lambda s, f, body, r: (s, f, bundle(parts(body)[:1] + parts(earlier[-1])[1:])),
            "earlier receipt": lambda s, f, body, r: (s, f, bundle(parts(earlier[-1])[:1] + parts(body)[1:])),
            "earlier answer": lambda s, f, body, r: (s, f, earlier[-1]),
            "receipt altered": receipt(lambda text, _: flipped(text, len(text) // 2)),
            "receipt cut": receipt(lambda text, _: text[:len(text) // 2]),
            "receipt empty": receipt(lambda text, _: b""),
            "job as receipt": receipt(lambda text, job: job),
            "receipt for other outputs": payload(lambda r: r.update(outputs=r["outputs"][::-1])),
            "receipt of another unit": payload(lambda r: r.update(unit="unit-2")),
            "no receipt": body(lambda b: bundle(parts(b)[1:])),
            "empty bundle": body(lambda b: bundle([])),
            "empty": body(lambda b: b""),
            "cut in the header": body(lambda b: b[:12]),
            "cut in the lengths": body(lambda b: b[:20]),
            "cut in an output": body(lambda b: b[:-1]),
            "longer": body(lambda b: b + b"0"),
            "huge length": body(lambda b: b[:16] + struct.pack("<Q", 2 ** 63 - 1) + b[24:]),
            "huge count": body(lambda b: b[:12] + b"\xff\xff\xff\xff" + b[16:]),
            "another page": answer(200, {"Content-Type": "text/html"}, b"<html>It works!</html>"),
            "no content": answer(204, {}, b""),
            "redirect": answer(307, {"Location": "http://127.0.0.1:%d/elsewhere" % port}, b""),
            "busy": problem("compute-saturated", 503),
            "always lacks keys": problem("missing-evaluation-keys", 409),
            "other problem": problem("x" * 5000, 418),
            "garbled problem": answer(500, {"Content-Type": "application/problem+json"}, b"\xff{"),
            "other type": lambda s, f, body, r: (s, dict(f, **{"Content-Type": "image/png"}), body),
            "endless timing": timing("prediction;dur=1e300, prediction;dur=999999999999"),
            "no timing": timing("prediction;dur=nan, ;;,\"" + "x" * 4000),
            "garbled JSON": answer(200, JSON, b"{\"descriptors\": [\"\", "),
            "other JSON": answer(200, JSON, b"[1, 2, 3]"),
            "nothing needed": members(lambda p: p.update(have=[], need=[])),
            "needs all often": members(twice("need")),
            "needs others": members(lambda p: p.update(need=p["need"] + ["0" * 64, "", "../../.."])),
            "no models": members(lambda p: p.update(descriptors=[])),
            "models often": members(twice("descriptors")),
            "model altered": members(lambda p: p.update(descriptors=[altered_envelope(d) for d in p["descriptors"]])),
            "bound forged": plan(lambda p: p["release"]["policy"].update(errorBound=1e6)),
            "no noise": plan(lambda p: p.pop("release")),
            "earlier plan": earlier_plan,
            "precision out of reach": problem("precision-out-of-reach", 422),
            "throttled": answer(429, dict(JSON, **{"Retry-After": "7"}), b"{\"errors\": []}"),
            "other secret": members(lambda p: p["data"].update(plaintext=base64.b64encode(bytes(32)).decode())),
            "models cut": members(lambda p: p.update(descriptors=[d[:-9] for d in p["descriptors"]])),
        }

        class Relay(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def log_message(self, *_): pass

            def ask(self, where, body):
                dropped = ("host", "content-length", "connection")
                fields = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
                true = http.client.HTTPConnection("127.0.0.1", where, timeout=60)
                true.request(self.command, self.path, body or None, fields)
                response = true.getresponse()
                return response.status, {k: v for k, v in response.getheaders()
                                         if k.lower() in ("content-type", "server-timing")}, response.read()

            def reply(self, status, fields, body):
                self.send_response(status)
                for name, value in fields.items(): self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def hang_up(self):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with open(folder + "/requests", "a") as log: log.write(self.command + " " + self.path + "\n")
                told = json.load(open(folder + "/lie"))
                applies = re.match(told["path"], self.command + " " + self.path)
                lie = told["lie"] if applies else ""
                where = told.get("port", unit) if applies else unit
                if lie == "body altered":
                    return self.reply(*self.ask(where, flipped(body, len(body) // 2)))
                if lie == "signature dropped":
                    del self.headers["Signature"]
                if lie == "asked twice":
                    self.ask(where, body)
                if lie == "lacks keys once" and not os.path.exists(folder + "/end"):
                    open(folder + "/end", "w").close()
                    return self.reply(*lies["always lacks keys"](0, {}, b"", body))
                if lie == "hang up":
                    return self.hang_up()
                if lie == "no HTTP":
                    self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 9)
                    return self.hang_up()
                status, fields, true = self.ask(where, body)
                if lie == "late":
                    time.sleep(1.5)
                if lie in ("stops in the middle", "ends in the middle", "declares too much"):
                    self.send_response(status)
                    self.send_header("Content-Length", str(1 << 40 if lie == "declares too much" else len(true)))
                    self.end_headers()
                    self.wfile.write(true[:len(true) // 2])
                    self.wfile.flush()
                    while lie == "stops in the middle" and not os.path.exists(folder + "/end"): time.sleep(0.1)
                    return self.hang_up()
                if lie == "endless":
                    self.send_response(status)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.close_connection = True
                    while True: self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                if not lie and status == 200 and self.path == "/v1/evaluate":
                    earlier.append(true)
                if lie in lies:
                    status, fields, true = lies[lie](status, fields, true, body)
                self.reply(status, fields, true)

            do_GET = do_PUT = do_POST = do_DELETE = do

            def handle(self):
                try: super().handle()
                except OSError: pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Relay)
        server.daemon_threads = True
        open(folder + "/ready", "w").close()
        server.serve_forever()
        """#
}
