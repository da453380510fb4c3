import ServiceKit

/// How results leave, for people.
enum ReleaseReport {
    /// `flooded within 0.001, s = 30, 1024 decryptions, for the owner`
    static func line(_ flooding: FloodingBody) -> String {
        "flooded within \(flooding.precision), s = \(flooding.statisticalBits), "
            + "\(flooding.decryptions) decryptions, "
            + (flooding.audience == "shared" ? "may be shared" : "for the owner")
    }

    /// What was planned, line by line.
    static func text(_ report: String) -> String {
        report.split(separator: "\n").map { "plan: " + Terminal.printable(String($0)) + "\n" }.joined()
    }

    /// What stands beside decrypted values.
    static func note(release: String, _ flooding: FloodingBody?, left: Int?) -> String {
        let rest = left.map { "; \($0) decryptions left" } ?? ""
        if let flooding { return "\(line(flooding))\(rest)" }
        return release == "raw"
            ? "raw: whoever sees raw results may find the secret key, so show them to nobody (docs/release.md)\(rest)"
            : "\(Terminal.printable(release))\(rest)"
    }
}
