import AccessPolicy
import Foundation
import TestSupport
import Testing

@Suite struct IPAddressTests {
    @Test(
        "texts that are no addresses",
        arguments: [
            "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.-4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/8",
            "0x7f.0.0.1", "1..3.4", "１.2.3.4", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7:8::", "1:2:3:4::5:6:7:8", "12345::", "g::", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "[::1]",
            "fe80::1%eth0", "::1.2.3", "1.2.3.4::", "::1.2.3.4:5", "+1::", "::0x1", "::1.2.3.04",
            "1:2:3:4:5:6:7:1.2.3.4", "0000:0000:0000:0000:0000:0000:255.255.255.2555",
        ])
    func refused(text: String) { #expect(IPAddress(text) == nil) }

    @Test("two texts of one address are equal")
    func equal() {
        for (one, other) in [
            ("::1", "0:0:0:0:0:0:0:1"), ("2001:DB8::", "2001:db8:0::0"), ("::ffff:1.2.3.4", "1.2.3.4"),
            ("::ffff:102:304", "1.2.3.4"), ("64:ff9b::1.2.3.4", "64:ff9b::102:304"), ("1::", "1:0:0:0:0:0:0::"),
            ("::1.2.3.4", "::102:304"),
        ] {
            #expect(IPAddress(one) != nil && IPAddress(one) == IPAddress(other), "\(one) \(other)")
        }
        #expect(IPAddress("::1.2.3.4") != IPAddress("1.2.3.4"))
    }

    /// What the system's reader takes for the text, in sixteen bytes.
    private func system(_ text: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET6, text, &bytes) == 1 { return bytes }
        var four = [UInt8](repeating: 0, count: 4)
        guard inet_pton(AF_INET, text, &four) == 1 else { return nil }
        return [UInt8](repeating: 0, count: 10) + [255, 255] + four
    }

    @Test("reads what the system reads, and as the same address")
    func likeTheSystem() {
        var generator = SeededGenerator(7)
        var known: [IPAddress: [UInt8]] = [:]
        let pieces = ["::", ":", ".", "0", "1", "ff", "ffff", "1.2.3.4", "255", "a", "10", "256", "00"]
        var accepted = 0
        for _ in 0..<40_000 {
            let count = Int.random(in: 1...12, using: &generator)
            let text = (0..<count).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
            let (ours, theirs) = (IPAddress(text), system(text))
            #expect((ours == nil) == (theirs == nil), "\(text)")
            guard let ours, let theirs else { continue }
            accepted += 1
            #expect(known[ours] ?? theirs == theirs, "\(text)")
            known[ours] = theirs
        }
        #expect(accepted > 500 && Set(known.values).count == known.count)
    }
}
