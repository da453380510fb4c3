import AccessPolicy
import ArgumentParser
import Foundation
import ServiceKit

extension PolicyCommand {
    /// `hkms policy explain`
    struct Explain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what a policy decides, by which rule, and why the others do not match.",
            discussion: """
                What you leave out is not known, as it would be to a gateway that cannot tell: it matches no allow rule \
                that asks for it, and matches deny rules.

                  hkms policy explain --policy policy.yaml --who alice \\
                    --group radiology --action decrypt.job --owner-group radiology \\
                    --at 2026-11-21T23:30:00Z --from 10.1.2.3

                Without --policy: what the gateway does where no policy is configured. Ownership, the first gate, is not \
                looked at. Exit code 0 whatever the decision is.
                """)

        @Option(help: ArgumentHelp("The policy file.", valueName: "file"))
        var policy: String?
        @Option(help: ArgumentHelp("The principal's name.", valueName: "subject"))
        var who: String
        @Option(help: ArgumentHelp("Who vouches for the name.", valueName: "issuer"))
        var issuer = StaticTokenFile.issuer
        @Option(help: ArgumentHelp("The principal's tenant.", valueName: "name"))
        var tenant = "default"
        @Option(help: ArgumentHelp("A group of the principal; may be repeated.", valueName: "name"))
        var group: [String] = []
        @Option(help: ArgumentHelp("What it wants to do.", valueName: "action"))
        var action: AccessAction
        @Option(help: ArgumentHelp("Id of the key set, or new for one that the request makes.", valueName: "id"))
        var keySet: String?
        @Option(help: ArgumentHelp("The user who owns the key set.", valueName: "subject"))
        var owner: String?
        @Option(help: ArgumentHelp("The group that owns the key set.", valueName: "name"))
        var ownerGroup: String?
        @Option(help: ArgumentHelp("Tenant of the key set; the principal's by default.", valueName: "name"))
        var keySetTenant: String?
        @Option(help: ArgumentHelp("The model or circuit.", valueName: "name"))
        var model: String?
        @Option(help: ArgumentHelp("When, such as 2026-11-21T22:00:00Z; now by default.", valueName: "time"))
        var at: String?
        @Option(help: ArgumentHelp("The address that the request comes from.", valueName: "address"))
        var from: String?
        @Option(help: ArgumentHelp("Decryptions left, or unlimited.", valueName: "number"))
        var budgetLeft: String?
        @Option(help: ArgumentHelp("Who may see the results.", valueName: "audience"))
        var audience: AccessRequest.Audience?
        @Flag(help: "Print JSON.")
        var json = false

        func validate() throws {
            guard owner == nil || ownerGroup == nil else {
                throw ValidationError("--owner and --owner-group name two owners.")
            }
            _ = try request()
        }

        func run() throws {
            let policy = try policy.map { try PolicyCommand.read($0) } ?? .builtIn
            let explanation = policy.explain(try request())
            if json { return try PolicyCommand.write(Answer(explanation)) }
            var text = "\(explanation.decision)\n"
            if let separation = explanation.separation {
                func names(_ rules: [RuleReference]) -> String { rules.map(\.description).joined(separator: ", ") }
                text += "  holds one side by \(names(separation.either)), the other by \(names(separation.or))\n"
            }
            var table = Table(["rule", "line", "effect", "matches", "because"])
            for outcome in explanation.rules {
                table.add([
                    outcome.rule.name, "\(outcome.rule.line)", outcome.allows ? "allow" : "deny",
                    outcome.mismatch == nil ? "yes" : "no", outcome.mismatch ?? "",
                ])
            }
            try Terminal.write(Terminal.printable(text) + (table.isEmpty ? "" : "\n" + table.text))
        }

        private func request() throws -> AccessRequest {
            var request = AccessRequest(
                action, by: Principal(issuer: issuer, subject: who, tenant: tenant, groups: group),
                tenant: keySetTenant ?? tenant, model: model, time: Date(), audience: audience)
            request.keySet = keySet.map { $0 == "new" ? .new : .id($0) } ?? (action == .register ? .new : nil)
            if let owner { request.owner = .init(kind: .user, issuer: issuer, name: owner) }
            if let ownerGroup { request.owner = .init(kind: .group, issuer: issuer, name: ownerGroup) }
            if let at {
                guard let date = try? Date(at, strategy: .iso8601) else {
                    throw ValidationError("--at is a time such as 2026-11-21T22:00:00Z.")
                }
                request.time = date
            }
            if let from {
                guard let address = IPAddress(from) else {
                    throw ValidationError("--from is an IPv4 or IPv6 address, without port and zone.")
                }
                request.address = address
            }
            switch budgetLeft {
            case nil: break
            case "unlimited": request.decryptionsLeft = .unlimited
            case let text?:
                guard let count = Int(text), count >= 0 else {
                    throw ValidationError("--budget-left is a number, or unlimited.")
                }
                request.decryptionsLeft = .count(count)
            }
            return request
        }
    }

    private struct Answer: Encodable {
        struct Place: Encodable {
            let name: String
            let file: String
            let line: Int

            init(_ reference: RuleReference) {
                (name, file, line) = (reference.name, reference.file, reference.line)
            }
        }
        struct Rule: Encodable {
            let name: String
            let line: Int
            let effect: String
            let matches: Bool
            let because: String?
        }
        let allowed: Bool
        let decision: String
        /// Absent where no rule decided.
        let rule: Place?
        let separation: Place?
        let policy: String
        let rules: [Rule]

        init(_ explanation: PolicyExplanation) {
            let decision = explanation.decision
            allowed = decision.isAllowed
            self.decision = decision.description
            switch decision.reason {
            case .rule(let reference): (rule, separation) = (Place(reference), nil)
            case .separation(let reference): (rule, separation) = (nil, Place(reference))
            case .noRule: (rule, separation) = (nil, nil)
            }
            policy = decision.policyDigest
            rules = explanation.rules.map {
                Rule(
                    name: $0.rule.name, line: $0.rule.line, effect: $0.allows ? "allow" : "deny",
                    matches: $0.mismatch == nil, because: $0.mismatch)
            }
        }
    }
}

extension AccessAction: ExpressibleByArgument {}
extension AccessRequest.Audience: ExpressibleByArgument {}
