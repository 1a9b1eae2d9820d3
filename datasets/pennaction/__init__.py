"""PennAction: 2326 videos of sport from the web, one person in each, 13 joints in 2D."""
