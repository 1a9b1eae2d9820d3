"""Penn Action: 2326 sports videos from the web, one person in each, 13 joints in 2D."""
