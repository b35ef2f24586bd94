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
        attach_identifier => "AttachIdentifier": AttachIdentifierRequest -> AttachIdentifierResponse,
        merge_customers => "MergeCustomers": MergeCustomersRequest -> MergeCustomersResponse,
    }
);
