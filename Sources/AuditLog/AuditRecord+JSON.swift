import Attestation

/// The members of an operation's line, in their order; docs/audit.md has the table.
extension AuditRecord {
    var members: [CanonicalJSON.Member] {
        var members: [CanonicalJSON.Member] = []
        func add(_ name: String, _ text: String?) {
            if let text { members.append(.init(name, .text(text))) }
        }
        add("request", requestID)
        add("trace", traceID)
        if let caller { members.append(.init("who", caller.json)) }
        add("action", action)
        if let resource = resource.json { members.append(.init("resource", resource)) }
        if !parameters.isEmpty {
            let names = parameters.keys.sorted(by: Self.precedes)
            members.append(
                .init("parameters", .object(names.map { .init($0, .text(parameters[$0] ?? "")) })))
        }
        if ciphertexts.count > 0 { members.append(.init("ciphertexts", ciphertexts.json)) }
        add("decision", decision.rawValue)
        add("rule", rule)
        add("outcome", outcome)
        members.append(.init("microseconds", .integer(microseconds)))
        return members
    }

    init(_ fields: inout CanonicalFields) throws(AuditLineError) {
        let requestID = try fields.optionalText("request")
        let traceID = try fields.optionalText("trace")
        let caller = try fields.take("who").map { (value) throws(AuditLineError) in try Caller(value) }
        let action = try fields.text("action")
        let resource = try fields.take("resource").map { (value) throws(AuditLineError) in try Resource(value) }
        var parameters: [String: String] = [:]
        if case .object(let members)? = fields.take("parameters") {
            for member in members {
                guard case .text(let text) = member.value else { throw AuditLineError("a parameter is no text") }
                parameters[member.name] = text
            }
        }
        let ciphertexts = try fields.take("ciphertexts").map { (value) throws(AuditLineError) in
            try Ciphertexts(value)
        }
        guard let decision = Decision(rawValue: try fields.text("decision")) else {
            throw AuditLineError("decision is unknown")
        }
        self.init(
            caller: caller, action: action, resource: resource ?? Resource(), parameters: parameters,
            ciphertexts: ciphertexts ?? Ciphertexts([]), decision: decision, rule: try fields.text("rule"),
            requestID: requestID, traceID: traceID, outcome: try fields.text("outcome"),
            microseconds: try fields.integer("microseconds"))
    }
}

extension AuditIdentifier {
    fileprivate var json: CanonicalJSON {
        switch self {
        case .plain(let text): .text(text)
        case .keyed(let digest): .object([.init("hmac", .text(digest.hex))])
        }
    }

    fileprivate init(_ value: CanonicalJSON?) throws(AuditLineError) {
        switch value {
        case .text(let text)?: self = .plain(text)
        case .object(let members)?:
            guard members.count == 1, members[0].name == "hmac", case .text(let hex) = members[0].value,
                let digest = Digest(hex: hex)
            else { throw AuditLineError("an identifier is none") }
            self = .keyed(digest)
        default: throw AuditLineError("an identifier is missing where it belongs")
        }
    }
}

extension AuditRecord.Caller {
    fileprivate var json: CanonicalJSON {
        var members: [CanonicalJSON.Member] = [
            .init("issuer", .text(issuer)), .init("subject", subject.json), .init("tenant", tenant.json),
        ]
        if !groups.isEmpty { members.append(.init("groups", .list(groups.map(\.json)))) }
        if groupCount > groups.count { members.append(.init("groupCount", .integer(groupCount))) }
        return .object(members)
    }

    fileprivate init(_ value: CanonicalJSON) throws(AuditLineError) {
        var fields = try CanonicalFields(value)
        let issuer = try fields.text("issuer")
        let subject = try AuditIdentifier(fields.take("subject"))
        let tenant = try AuditIdentifier(fields.take("tenant"))
        var groups: [AuditIdentifier] = []
        for group in try fields.list("groups") { groups.append(try AuditIdentifier(group)) }
        self.init(
            issuer: issuer, subject: subject, tenant: tenant, groups: groups,
            groupCount: try fields.optionalInteger("groupCount") ?? groups.count)
        try fields.finish()
    }
}

extension AuditRecord.Resource {
    /// nil where there is none.
    fileprivate var json: CanonicalJSON? {
        var members: [CanonicalJSON.Member] = []
        if let keySet { members.append(.init("keySet", keySet.json)) }
        if let keySetVersion { members.append(.init("version", .integer(keySetVersion))) }
        if let model { members.append(.init("model", .text(model))) }
        if let unit { members.append(.init("unit", .text(unit))) }
        return members.isEmpty ? nil : .object(members)
    }

    fileprivate init(_ value: CanonicalJSON) throws(AuditLineError) {
        var fields = try CanonicalFields(value)
        let keySet = try fields.take("keySet").map { (value) throws(AuditLineError) in try AuditIdentifier(value) }
        self.init(
            keySet: keySet, keySetVersion: try fields.optionalInteger("version"),
            model: try fields.optionalText("model"), unit: try fields.optionalText("unit"))
        try fields.finish()
    }
}

extension AuditRecord.Ciphertexts {
    fileprivate var json: CanonicalJSON {
        var members: [CanonicalJSON.Member] = [
            .init("count", .integer(count)), .init("digests", .list(digests.map { .text($0.hex) })),
        ]
        if let all { members.append(.init("all", .text(all.hex))) }
        return .object(members)
    }

    fileprivate init(_ value: CanonicalJSON) throws(AuditLineError) {
        var fields = try CanonicalFields(value)
        let count = try fields.integer("count")
        var digests: [Digest] = []
        for value in try fields.list("digests") {
            guard case .text(let hex) = value, let digest = Digest(hex: hex) else {
                throw AuditLineError("a ciphertext's digest is none")
            }
            digests.append(digest)
        }
        var all: Digest?
        if let hex = try fields.optionalText("all") {
            guard let digest = Digest(hex: hex) else { throw AuditLineError("all is no digest") }
            all = digest
        }
        try fields.finish()
        guard digests.count == min(count, Self.maximumDigests), (all != nil) == (count > Self.maximumDigests) else {
            throw AuditLineError("the number of digests is wrong")
        }
        self.init(digests: digests, count: count, all: all)
    }
}
