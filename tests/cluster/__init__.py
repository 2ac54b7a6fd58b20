"""Several nodes on one PostgreSQL and one ClickHouse, behind a balancer."""
