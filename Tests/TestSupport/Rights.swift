import Foundation

/// What the kernel allows this process. In a container root often lacks most of root's rights.
package enum Rights {
    /// capabilities(7), by their numbers in linux/capability.h.
    package enum Capability: UInt64 {
        case chown = 0
        case dacReadSearch = 2
        case setGroup = 6
        case setUser = 7
        case setCapabilities = 8
        case trace = 19
    }

    /// Whether this process has all of `capabilities` in effect.
    package static func include(_ capabilities: Capability...) -> Bool {
        capabilities.allSatisfy { effective >> $0.rawValue & 1 == 1 }
    }

    /// Whether another user's processes, and those that forbid it, may be looked into.
    package static var includeTracing: Bool { include(.trace) }

    /// Whether a program may be started as another user that keeps the right to read root's folders.
    package static var includeOtherUsers: Bool {
        include(.chown, .dacReadSearch, .setGroup, .setUser, .setCapabilities)
    }

    private static let effective: UInt64 = {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") })
        else { return 0 }
        return UInt64(line.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16) ?? 0
    }()
}
