use mainstem_proto::wire::identity::identity_service_server::{
    IdentityService, IdentityServiceServer,
};

use crate::machine::{IdentityMachine, READERS};
use crate::watch;

mainstem_runtime::grpc_face!(
    IdentityMachine,
    IdentityServiceServer,
    IdentityService,
    mainstem_proto::wire::identity,
    {
        get_customer => "GetCustomer": GetCustomerRequest -> GetCustomerResponse,
        resolve_customer => "ResolveCustomer": ResolveCustomerRequest -> ResolveCustomerResponse,
        list_customers => "ListCustomers": ListCustomersRequest -> ListCustomersResponse,
        list_evidence => "ListEvidence": ListEvidenceRequest -> ListEvidenceResponse,
        attach_identifier => "AttachIdentifier": AttachIdentifierRequest -> AttachIdentifierResponse,
        merge_customers => "MergeCustomers": MergeCustomersRequest -> MergeCustomersResponse,
        split_customer => "SplitCustomer": SplitCustomerRequest -> SplitCustomerResponse,
        list_conflicts => "ListConflicts": ListConflictsRequest -> ListConflictsResponse,
        list_suggestions => "ListSuggestions": ListSuggestionsRequest -> ListSuggestionsResponse,
        accept_suggestion => "AcceptSuggestion": AcceptSuggestionRequest -> AcceptSuggestionResponse,
        reject_suggestion => "RejectSuggestion": RejectSuggestionRequest -> RejectSuggestionResponse,
        list_hubs => "ListHubs": ListHubsRequest -> ListHubsResponse,
        release_hub => "ReleaseHub": ReleaseHubRequest -> ReleaseHubResponse,
        list_disputes => "ListDisputes": ListDisputesRequest -> ListDisputesResponse,
        settle_dispute => "SettleDispute": SettleDisputeRequest -> SettleDisputeResponse,
        erase_customer => "EraseCustomer": EraseCustomerRequest -> EraseCustomerResponse,
        get_erasure => "GetErasure": GetErasureRequest -> GetErasureResponse,
        report_erasure => "ReportErasure": ReportErasureRequest -> ReportErasureResponse,
        get_timeline => "GetTimeline": GetTimelineRequest -> GetTimelineResponse,
    },
    streams {
        watch_identity => "WatchIdentity": WatchIdentityRequest -> WatchIdentityResponse
            as WatchIdentityStream, for READERS, by watch::open;
    }
);
