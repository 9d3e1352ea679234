"""Standards, spoken: OpenLineage events, W3C PROV-JSON, model cards, CycloneDX; all of it told from the catalog and the seam."""
