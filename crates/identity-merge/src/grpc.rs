use mainstem_proto::wire::identity::identity_service_server::{
    IdentityService, IdentityServiceServer,
};

use crate::machine::IdentityMachine;

mainstem_runtime::grpc_face!(
    IdentityMachine,
    IdentityServiceServer,
    IdentityService,
    mainstem_proto::wire::identity,
    {
        get_customer => "GetCustomer": GetCustomerRequest -> GetCustomerResponse,
        resolve_customer => "ResolveCustomer": ResolveCustomerRequest -> ResolveCustomerResponse,
        list_customers => "ListCustomers": ListCustomersRequest -> ListCustomersResponse,
        attach_identifier => "AttachIdentifier": AttachIdentifierRequest -> AttachIdentifierResponse,
        merge_customers => "MergeCustomers": MergeCustomersRequest -> MergeCustomersResponse,
        list_conflicts => "ListConflicts": ListConflictsRequest -> ListConflictsResponse,
        list_suggestions => "ListSuggestions": ListSuggestionsRequest -> ListSuggestionsResponse,
    }
);
