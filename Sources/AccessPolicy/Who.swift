import ServiceKit

/// The principals of a rule: those who are in every list that is there. A principal is in a list of groups by one of
/// its groups.
struct Who: Sendable, Hashable {
    var issuers: NameList?
    var subjects: NameList?
    var groups: NameList?
    var tenants: NameList?

    func contains(_ principal: Principal) -> Bool { mismatch(principal) == nil }

    /// The first list that the principal is not in.
    func mismatch(_ principal: Principal) -> Mismatch? {
        if let tenants, !tenants.contains(principal.tenant) { return .tenant }
        if let issuers, !issuers.contains(principal.issuer) { return .issuer }
        if let subjects, !subjects.contains(principal.subject) { return .subject }
        if let groups, !groups.contains(anyOf: principal.groups) { return .group }
        return nil
    }

    /// Whether it is sure to have every principal of `other`.
    func contains(_ other: Who) -> Bool {
        func contains(_ list: NameList?, _ other: NameList?) -> Bool {
            guard let list else { return true }
            return other.map { $0.isSubset(of: list) } ?? false
        }
        return contains(issuers, other.issuers) && contains(subjects, other.subjects)
            && contains(groups, other.groups) && contains(tenants, other.tenants)
    }
}
