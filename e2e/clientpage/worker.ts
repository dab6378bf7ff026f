import "@watchroute/client/sharedworker";
