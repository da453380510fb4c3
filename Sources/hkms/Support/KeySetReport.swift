import HKMSClient
import ServiceKit

/// A key set for people.
enum KeySetReport {
    static func text(_ info: KeySetInfo, timings: ServerTiming) -> String {
        var facts = Table()
        facts.add(["key set", info.id])
        facts.add(["state", info.state])
        facts.add(["mode", info.mode])
        facts.add(["owner", "\(info.owner.kind) \(info.owner.subject) of \(info.tenant)"])
        facts.add(["created", Format.date(info.created)])
        if let date = info.activated { facts.add(["activated", Format.date(date)]) }
        if let date = info.destroyed { facts.add(["destroyed", Format.date(date)]) }
        if let date = info.shredded { facts.add(["shredded", Format.date(date)]) }
        let version = info.kms.keyVersion.map { ", version \($0)" } ?? ""
        facts.add(["KMS", "\(info.kms.provider), key \(info.kms.key)\(version)"])
        if let model = info.model { facts.add(["model", model]) }
        facts.add(["parameters", parameters(info.parameters)])
        facts.add(["manifest", "version \(info.manifestVersion), \(info.manifestDigest)"])
        let unflooded = info.release == "raw" ? "raw, to the owner alone" : info.release
        facts.add(["release", info.flooding.map(ReleaseReport.line) ?? unflooded])
        let marks = [
            (info.decryptAny, "decrypts any ciphertext"), (info.exposed, "exposed"), (info.tainted, "tainted"),
        ]
        let marked = marks.filter(\.0).map(\.1)
        if !marked.isEmpty { facts.add(["marks", marked.joined(separator: ", ")]) }
        let left = info.counters.decryptionsLeft.map { ", \($0) left" } ?? ""
        facts.add(["encryptions", String(info.counters.encryptions)])
        facts.add(["decryptions", "\(info.counters.decryptions)\(left)"])
        if info.counters.failures > 0 { facts.add(["failures", String(info.counters.failures)]) }

        let steps = Table(timings)
        var parts = [facts, sizes(info), steps].filter { !$0.isEmpty }.map(\.text)
        if let report = info.releaseReport { parts.insert(ReleaseReport.text(report), at: 1) }
        return parts.joined(separator: "\n")
    }

    /// Of what is stored. Of a destroyed key set the manifest is left, which still names what it had.
    private static func sizes(_ info: KeySetInfo) -> Table {
        guard info.destroyed == nil else { return Table() }
        var sizes = Table(["key", "level", "size"])
        for object in info.objects { sizes.add([object.name, String(object.level), Format.bytes(object.bytes)]) }
        sizes.add(["sealed seed", "", info.bytes.sealedSeed.map(Format.bytes) ?? "not available"])
        sizes.add(["all evaluation keys", "", Format.bytes(info.bytes.evaluationKeys)])
        return sizes
    }

    static func parameters(_ body: ParametersBody) -> String {
        let bits = (body.q + body.p).reduce(0) { $0 + UInt64.bitWidth - $1.leadingZeroBitCount }
        let modulus = body.t.map { ", t = \($0)" } ?? ""
        return "\(body.scheme), N = 2^\(body.logN), \(body.q.count) + \(body.p.count) primes of \(bits) bits\(modulus)"
    }
}
