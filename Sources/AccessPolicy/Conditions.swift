/// What must hold beside who, what and on what. All that are there must.
struct Conditions: Sendable, Hashable {
    var times: WeekMinutes?
    /// From one of them.
    var networks: [IPNetwork]?
    /// At least so many.
    var decryptionsLeft: Int?
    /// One of them.
    var audience: Set<AccessRequest.Audience>?

    var isEmpty: Bool { self == Conditions() }

    func hold(for request: AccessRequest) -> Truth {
        var all = Truth.yes
        for kind in Kind.allCases { all = all && hold(kind, for: request) }
        return all
    }

    enum Kind: String, CaseIterable {
        case times, networks, decryptionsLeft, audience
    }

    /// One of the conditions; yes where it is not there.
    func hold(_ kind: Kind, for request: AccessRequest) -> Truth {
        switch kind {
        case .times:
            guard let times else { return .yes }
            guard let minute = request.time.flatMap(WeeklyWindow.minute(of:)) else { return .unknown }
            return Truth(times.contains(minute))
        case .networks:
            guard let networks else { return .yes }
            return Truth(request.address.map { address in networks.contains { $0.contains(address) } })
        case .decryptionsLeft:
            guard let least = decryptionsLeft else { return .yes }
            switch request.decryptionsLeft {
            case nil: return .unknown
            case .unlimited: return .yes
            case .count(let count): return Truth(count >= least)
            }
        case .audience:
            guard let audience else { return .yes }
            return Truth(request.audience.map(audience.contains))
        }
    }

    /// Whether they are sure to hold wherever `other` holds.
    func contain(_ other: Conditions) -> Bool {
        if let times {
            guard let narrower = other.times, narrower.isSubset(of: times) else { return false }
        }
        if let networks {
            guard let narrower = other.networks,
                narrower.allSatisfy({ network in networks.contains { $0.contains(network) } })
            else { return false }
        }
        if let decryptionsLeft {
            guard let narrower = other.decryptionsLeft, narrower >= decryptionsLeft else { return false }
        }
        if let audience {
            guard let narrower = other.audience, narrower.isSubset(of: audience) else { return false }
        }
        return true
    }
}
